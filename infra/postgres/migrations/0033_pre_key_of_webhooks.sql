-- The data key that hides what signs messages of webhooks: whoever delivers them needs no key of a customer.
CREATE VIEW kehu.webhook_data_keys AS
SELECT customer_id, master, wrapped, made_at, erased_at FROM kehu.data_keys WHERE customer_id = 'kehu webhooks';
