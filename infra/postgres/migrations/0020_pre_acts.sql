-- What people do to the system is told in the log. Whoever may do something need not be allowed to write the log for it:
-- this function appends to the streams of administration, and to no others.
CREATE FUNCTION kehu.record_act(act_stream text, act_topic text, act_state bytea, act_customer text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kehu, pg_temp AS $$
DECLARE
    act_position bigint;
    act_moment timestamptz;
BEGIN
    IF act_stream NOT LIKE 'administration-%' OR act_topic NOT LIKE 'administration.%' THEN
        RAISE EXCEPTION 'only acts of administration are recorded here' USING ERRCODE = 'insufficient_privilege';
    END IF;
    -- The row of the counter is the lock that all writers share: behind it nobody else gives this stream a version.
    UPDATE log_head SET n = n + 1, recorded_at = greatest(recorded_at, clock_timestamp())
        RETURNING n, recorded_at INTO act_position, act_moment;
    INSERT INTO stored_events
            (originator_id, originator_version, topic, state, notification_id, recorded_at, customer_id)
        SELECT act_stream, 1 + coalesce(max(originator_version), 0), act_topic, act_state, act_position, act_moment,
            act_customer FROM stored_events WHERE originator_id = act_stream;
    NOTIFY kehu_events;
    RETURN act_position;
END $$;
REVOKE ALL ON FUNCTION kehu.record_act FROM PUBLIC;

-- Whether the log is sealed, and with which settings the last process of a kind told that it runs.
CREATE FUNCTION kehu.told_settings(kind text, OUT sealed boolean, OUT settings jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = kehu, pg_temp AS $$
    SELECT EXISTS (SELECT FROM tree_heads), (SELECT said -> 'settings' FROM (
        SELECT originator_version AS version, convert_from(state, 'UTF8')::jsonb -> 'data' AS said FROM stored_events
        WHERE originator_id = 'administration-settings') acts
        WHERE said ->> 'process' = kind ORDER BY version DESC LIMIT 1)
$$;
REVOKE ALL ON FUNCTION kehu.told_settings FROM PUBLIC;

-- Who adds reads holds this lock until they are kept, so that whoever takes it alone knows that no id below the last
-- one is still to come.
CREATE FUNCTION kehu.access_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtext('kehu-access-log'));
    RETURN NULL;
END $$;
CREATE TRIGGER access_is_kept BEFORE INSERT ON kehu.access_log
    FOR EACH STATEMENT EXECUTE FUNCTION kehu.access_is_kept();
