-- Users: for `workerd user` and `workerd token`, which run with the owner's
-- rights.

CREATE OR REPLACE FUNCTION user_by_email(p_email text)
RETURNS TABLE (result text, id uuid, role text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT CASE WHEN u.is_active THEN 'ok' ELSE 'forbidden' END,
           u.id, u.role::text
      FROM users u WHERE u.email = lower(p_email) AND u.deleted_at IS NULL;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::uuid, NULL::text;
    END IF;
END
$$;

-- Without a hash nobody can log in with a password: `!` is none's hash.
CREATE OR REPLACE FUNCTION user_add(
    p_email text, p_username text, p_password_hash text, p_role text
) RETURNS TABLE (result text, id uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    v_email text := lower(btrim(p_email));
    v_name  text := coalesce(nullif(btrim(p_username), ''), lower(btrim(p_email)));
    v_role  text := coalesce(p_role, 'user');
BEGIN
    IF v_email IS NULL OR v_email !~ '^[^@[:space:][:cntrl:]]+@[^@[:space:][:cntrl:]]+$'
       OR char_length(v_email) > 255 OR char_length(v_name) > 255
       OR v_name ~ '[\u0001-\u001f\u007f-\u009f]'
       OR v_role NOT IN ('user', 'admin')
    THEN
        result := 'invalid:invalid_field';
        RETURN NEXT;
        RETURN;
    END IF;

    INSERT INTO users (email, username, password_hash, role)
    VALUES (v_email, v_name, coalesce(p_password_hash, '!'), v_role)
    ON CONFLICT DO NOTHING
    RETURNING users.id INTO id;

    IF id IS NULL THEN
        result := 'conflict:conflict';
    ELSE
        result := 'ok';
        PERFORM avp_audit(NULL, 'user.add', 'user', id, NULL,
            jsonb_build_object('email', v_email, 'role', v_role), NULL, NULL);
    END IF;

    RETURN NEXT;
END
$$;

CREATE OR REPLACE FUNCTION user_list()
RETURNS TABLE (id uuid, email text, username text, role text,
               is_active boolean, created_at text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    RETURN QUERY
    SELECT u.id, u.email::text, u.username::text, u.role::text, u.is_active,
           avp_time(u.created_at)
      FROM users u WHERE u.deleted_at IS NULL
     ORDER BY u.created_at, u.id;
END
$$;

CREATE OR REPLACE FUNCTION user_disable(p_email text, p_disabled boolean)
RETURNS TABLE (result text, id uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u users%ROWTYPE;
BEGIN
    SELECT * INTO u FROM users x
     WHERE x.email = lower(p_email) AND x.deleted_at IS NULL FOR UPDATE;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::uuid;
        RETURN;
    END IF;

    IF u.is_active = p_disabled THEN
        UPDATE users x SET is_active = NOT p_disabled,
               active_changed_at = clock_timestamp(),
               updated_at = clock_timestamp()
         WHERE x.id = u.id;
        PERFORM avp_audit(NULL,
            CASE WHEN p_disabled THEN 'user.disable' ELSE 'user.enable' END,
            'user', u.id, jsonb_build_object('isActive', u.is_active),
            jsonb_build_object('isActive', NOT p_disabled), NULL, NULL);
    END IF;

    RETURN QUERY SELECT 'ok', u.id;
END
$$;

CREATE OR REPLACE FUNCTION user_set_role(p_email text, p_role text)
RETURNS TABLE (result text, id uuid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    u users%ROWTYPE;
BEGIN
    IF p_role IS NULL OR p_role NOT IN ('user', 'admin') THEN
        RETURN QUERY SELECT 'invalid:invalid_field', NULL::uuid;
        RETURN;
    END IF;

    SELECT * INTO u FROM users x
     WHERE x.email = lower(p_email) AND x.deleted_at IS NULL FOR UPDATE;

    IF NOT FOUND THEN
        RETURN QUERY SELECT 'not_found', NULL::uuid;
        RETURN;
    END IF;

    IF u.role <> p_role THEN
        UPDATE users x SET role = p_role, updated_at = clock_timestamp()
         WHERE x.id = u.id;
        PERFORM avp_audit(NULL, 'user.role', 'user', u.id,
            jsonb_build_object('role', u.role),
            jsonb_build_object('role', p_role), NULL, NULL);
    END IF;

    RETURN QUERY SELECT 'ok', u.id;
END
$$;
