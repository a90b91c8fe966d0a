-- What people do to the system is told in the log. Whoever may do something need not be allowed to write the log for it:
-- these functions append to the streams of administration, and to no others, and say which user of PostgreSQL it was.
CREATE FUNCTION kehu.append_act(act_stream text, act_topic text, act_state bytea) RETURNS bigint
LANGUAGE plpgsql SET search_path = kehu, pg_temp AS $$
DECLARE
    said jsonb := convert_from(act_state, 'UTF8')::jsonb;
    act_position bigint;
    act_moment timestamptz;
BEGIN
    IF act_stream !~ '^administration-[a-z-]{1,40}$' OR act_topic !~ '^administration\.[a-z-]{1,40}\.v[0-9]{1,4}$'
        OR said #>> '{meta,source}' IS DISTINCT FROM '/kehu/administration' OR said #>> '{meta,id}' IS NULL
        OR said #>> '{meta,customer}' IS DISTINCT FROM 'kehu:bank' OR said #>> '{data,by}' IS NULL
    THEN
        RAISE EXCEPTION 'only acts of administration are recorded here' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM (said #>> '{meta,at}')::timestamptz;
    said := jsonb_set(said, '{data,user}', to_jsonb(session_user::text));
    -- The row of the counter is the lock that all writers share: behind it nobody else gives this stream a version.
    UPDATE log_head SET n = n + 1, recorded_at = greatest(recorded_at, clock_timestamp())
        RETURNING n, recorded_at INTO act_position, act_moment;
    INSERT INTO stored_events
            (originator_id, originator_version, topic, state, notification_id, recorded_at, customer_id)
        SELECT act_stream, 1 + coalesce(max(originator_version), 0), act_topic, convert_to(said::text, 'UTF8'),
            act_position, act_moment, 'kehu:bank' FROM stored_events WHERE originator_id = act_stream;
    NOTIFY kehu_events;
    RETURN act_position;
END $$;
REVOKE ALL ON FUNCTION kehu.append_act FROM PUBLIC;

CREATE FUNCTION kehu.record_act(act_stream text, act_topic text, act_state bytea) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = kehu, pg_temp AS $$
BEGIN
    IF act_stream = 'administration-reads' THEN
        RAISE EXCEPTION 'reads are told by who seals the log' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN append_act(act_stream, act_topic, act_state);
END $$;
REVOKE ALL ON FUNCTION kehu.record_act FROM PUBLIC;

-- For who seals the log: which reads of personal data are under its proof from now on.
CREATE FUNCTION kehu.record_reads(act_topic text, act_state bytea) RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = kehu, pg_temp AS $$
    SELECT append_act('administration-reads', act_topic, act_state)
$$;
REVOKE ALL ON FUNCTION kehu.record_reads FROM PUBLIC;

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
