-- Describes the audit schema from the server's catalogs: one row for each property of each object.
-- Run on a schema that the migrations have just created, it returns the expected state; run by the
-- check, it returns the actual state.
--
--   kind, object   identify the property; `object` is unique within its kind
--   part_of        the rows, as "kind object", to which this one belongs or from which it was
--                  cloned: if one of them differs, only that one is reported
--   definition     compared as text
--   fix            SQL that creates a missing object or corrects a different one; {definition} in
--                  it is replaced with the expected definition
--   undo           SQL that removes an object that should not be there
--
-- Definitions are deparsed, so they depend on settings: the caller pins search_path,
-- quote_all_identifiers, TimeZone and DateStyle first.
WITH namespace AS (
    SELECT pg_namespace.oid, nspname, nspowner, nspacl, quote_ident(rolname) AS owner
    FROM pg_namespace JOIN pg_roles ON pg_roles.oid = nspowner WHERE nspname = '{schema}'
), made_along AS (
    -- Objects that Postgres creates and drops along with another one, such as a range's functions.
    SELECT classid, objid FROM pg_depend WHERE deptype = 'i' AND classid IN ('pg_proc'::regclass, 'pg_type'::regclass, 'pg_cast'::regclass)
), relation AS (
    SELECT class.oid, relname, relkind, relowner, relacl, relpersistence, relrowsecurity, relforcerowsecurity,
        reloptions, relispartition, relpartbound, relreplident, relnamespace,
        format('%s.%I', relnamespace::regnamespace, relname) AS name,
        CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
            WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'c' THEN 'TYPE' ELSE 'TABLE' END AS word
    FROM pg_class AS class
    WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND (
        relnamespace = (SELECT oid FROM namespace)
        -- Partitions and inheritance children in other schemas: queries of the log read them, too.
        OR EXISTS (
            SELECT FROM pg_inherits JOIN pg_class AS parent ON parent.oid = inhparent
            WHERE inhrelid = class.oid AND parent.relnamespace = (SELECT oid FROM namespace)))
), routine AS (
    SELECT oid, oid::regprocedure::text AS name, proowner, proacl, prokind, prorettype,
        CASE prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END AS word
    FROM pg_proc WHERE pronamespace = (SELECT oid FROM namespace) AND oid NOT IN (SELECT objid FROM made_along WHERE classid = 'pg_proc'::regclass)
), domain AS (
    SELECT oid, oid::regtype::text AS name, typowner, typacl, typtype, typbasetype, typtypmod, typnotnull, typdefault
    FROM pg_type
    WHERE typnamespace = (SELECT oid FROM namespace) AND typtype <> 'c' AND NOT (typtype = 'b' AND typelem <> 0 AND typarray = 0)
        AND oid NOT IN (SELECT objid FROM made_along WHERE classid = 'pg_type'::regclass)
), owned (kind, word, name, owner) AS (
    SELECT 'relation', word, name, relowner FROM relation
    UNION ALL SELECT 'routine', word, name, proowner FROM routine WHERE prorettype <> 'event_trigger'::regtype
    UNION ALL SELECT 'type', 'DOMAIN', name, typowner FROM domain
), granted (part_of, word, name, owner, acl) AS (
    SELECT ARRAY[]::text[], 'SCHEMA', quote_ident(nspname), nspowner, COALESCE(nspacl, acldefault('n', nspowner)) FROM namespace
    UNION ALL SELECT ARRAY['relation ' || name], CASE word WHEN 'SEQUENCE' THEN 'SEQUENCE' ELSE 'TABLE' END, name, relowner,
        COALESCE(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) FROM relation WHERE relkind <> 'c'
    UNION ALL SELECT ARRAY['routine ' || name], CASE word WHEN 'FUNCTION' THEN word ELSE 'ROUTINE' END, name, proowner, COALESCE(proacl, acldefault('f', proowner)) FROM routine
    UNION ALL SELECT ARRAY['type ' || name], 'TYPE', name, typowner, COALESCE(typacl, acldefault('T', typowner)) FROM domain
), privilege (part_of, privilege, word, name, grantee, grantable) AS (
    SELECT part_of, it.privilege_type, word, name, it.grantee, it.is_grantable
    FROM granted CROSS JOIN LATERAL aclexplode(acl) AS it WHERE it.grantee <> granted.owner
    UNION ALL SELECT ARRAY['column ' || name || '.' || quote_ident(attname)], format('%s (%I)', it.privilege_type, attname), 'TABLE', name, it.grantee, it.is_grantable
    FROM relation JOIN pg_attribute ON attrelid = relation.oid CROSS JOIN LATERAL aclexplode(attacl) AS it
    WHERE attnum > 0 AND NOT attisdropped AND it.grantee <> relowner
), attribute AS (
    SELECT relation.oid, relation.name AS relation, word, attnum, attname, format('%s.%I', relation.name, attname) AS name,
        format_type(atttypid, atttypmod)
            || CASE WHEN attcollation <> typcollation THEN ' COLLATE ' || attcollation::regcollation ELSE '' END
            || CASE WHEN attidentity <> '' THEN ' IDENTITY ' || attidentity::text ELSE '' END
            || CASE WHEN attgenerated <> '' THEN ' GENERATED ' || attgenerated::text ELSE '' END AS type,
        attnotnull, pg_get_expr(adbin, adrelid) AS "default",
        CASE attstorage WHEN 'p' THEN 'PLAIN' WHEN 'm' THEN 'MAIN' WHEN 'e' THEN 'EXTERNAL' ELSE 'EXTENDED' END AS storage
    FROM relation JOIN pg_attribute ON attrelid = relation.oid JOIN pg_type ON pg_type.oid = atttypid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND NOT attisdropped AND relkind IN ('r', 'p', 'f', 'c')
), index AS (
    SELECT relation.name AS relation, format('%s.%I', relation.relnamespace::regnamespace, pg_class.relname) AS name,
        (SELECT inhparent::regclass::text FROM pg_inherits WHERE inhrelid = pg_class.oid) AS parent,
        replace(pg_get_indexdef(pg_class.oid), ' ON ONLY ', ' ON ') || CASE WHEN indisvalid AND indisready AND indislive THEN '' ELSE ' -- INVALID' END AS definition
    FROM relation JOIN pg_index ON indrelid = relation.oid JOIN pg_class ON pg_class.oid = indexrelid
    WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND conrelid = indrelid)
), "constraint" AS (
    SELECT relation.name AS relation, conname, format('%s.%I', relation.name, conname) AS name, pg_get_constraintdef(pg_constraint.oid) AS definition,
        (SELECT format('%s.%I', parent.conrelid::regclass, parent.conname) FROM pg_constraint AS parent WHERE parent.oid = pg_constraint.conparentid) AS parent
    FROM relation JOIN pg_constraint ON conrelid = relation.oid
    WHERE contype NOT IN ('n', 't') -- listed as a column's NOT NULL, and as a trigger
), domain_constraint AS (
    SELECT domain.name AS domain, conname, format('%s.%I', domain.name, conname) AS name, pg_get_constraintdef(pg_constraint.oid) AS definition
    FROM domain JOIN pg_constraint ON contypid = domain.oid WHERE contype <> 'n'
), trigger AS (
    SELECT relation.name AS relation, tgname, format('%s.%I', relation.name, tgname) AS name, pg_get_triggerdef(pg_trigger.oid) AS definition,
        (SELECT format('%s.%I', parent.tgrelid::regclass, parent.tgname) FROM pg_trigger AS parent WHERE parent.oid = pg_trigger.tgparentid) AS parent,
        CASE tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' WHEN 'D' THEN 'DISABLED' ELSE 'ORIGIN' END AS enabled
    FROM relation JOIN pg_trigger ON tgrelid = relation.oid WHERE NOT tgisinternal OR tgparentid <> 0
), event_trigger AS (
    SELECT quote_ident(evtname) AS name, format('CREATE EVENT TRIGGER %I ON %s%s EXECUTE FUNCTION %s', evtname, evtevent,
            COALESCE((SELECT format(' WHEN TAG IN (%s)', string_agg(quote_literal(tag), ', ' ORDER BY tag)) FROM unnest(evttags) AS tag), ''), routine.name) AS definition,
        CASE evtenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' WHEN 'D' THEN 'DISABLED' ELSE 'ORIGIN' END AS enabled
    FROM pg_event_trigger JOIN routine ON routine.oid = evtfoid
), found (kind, object, part_of, definition, fix, undo) AS (
    SELECT 'relation', name, ARRAY[]::text[], CASE
            WHEN relkind = 'p' THEN 'TABLE PARTITION BY ' || pg_get_partkeydef(oid)
            -- Servers before 16 qualify the columns of a view's only table.
            WHEN relkind IN ('v', 'm') THEN format('%s %s AS%s%s', word, name, E'\n', replace(pg_get_viewdef(oid), 'record.', ''))
            WHEN relkind = 'S' THEN (
                SELECT format('SEQUENCE AS %s INCREMENT %s START %s MINVALUE %s MAXVALUE %s CACHE %s%s', seqtypid::regtype, seqincrement, seqstart, seqmin, seqmax, seqcache,
                    CASE WHEN seqcycle THEN ' CYCLE' ELSE '' END) FROM pg_sequence WHERE seqrelid = relation.oid)
            ELSE word END,
        CASE WHEN relkind = 'v' THEN 'CREATE OR REPLACE {definition}'
            ELSE format('-- Restore %s from a backup of this database: what it held cannot be made again.', name) END,
        format('DROP %s %s; -- or, to keep it: ALTER %s %s SET SCHEMA ...;', word, name, word, name)
    FROM relation
    UNION ALL SELECT 'persistence', name, ARRAY['relation ' || name], CASE relpersistence WHEN 'p' THEN 'LOGGED' WHEN 'u' THEN 'UNLOGGED' ELSE 'TEMPORARY' END,
        format('ALTER %s %s SET %s;', word, name, CASE relpersistence WHEN 'u' THEN 'UNLOGGED' ELSE 'LOGGED' END), ''
    FROM relation WHERE relkind IN ('r', 'p', 'm', 'S')
    UNION ALL SELECT 'row_security', name, ARRAY['relation ' || name],
        CASE WHEN relrowsecurity THEN 'ENABLED' ELSE 'DISABLED' END || CASE WHEN relforcerowsecurity THEN ', FORCED' ELSE ', NOT FORCED' END,
        format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY; ALTER TABLE %s NO FORCE ROW LEVEL SECURITY;', name, name), ''
    FROM relation WHERE relkind IN ('r', 'p')
    UNION ALL SELECT 'option', format('%s (%s)', name, split_part(option, '=', 1)), ARRAY['relation ' || name], option,
        format('ALTER %s %s SET (%s);', word, name, option), format('ALTER %s %s RESET (%s);', word, name, split_part(option, '=', 1))
    FROM relation CROSS JOIN LATERAL unnest(reloptions) AS option
    UNION ALL SELECT 'replica_identity', name, ARRAY['relation ' || name], relreplident::text, format('ALTER TABLE %s REPLICA IDENTITY DEFAULT;', name), ''
    FROM relation WHERE relkind IN ('r', 'p')
    UNION ALL SELECT 'parent', relation.name, ARRAY['relation ' || relation.name], CASE
            WHEN relispartition THEN format('PARTITION OF %s %s', parent, pg_get_expr(relpartbound, relation.oid))
            WHEN parent IS NOT NULL THEN 'INHERITS ' || parent ELSE 'NONE' END,
        CASE WHEN relispartition THEN format('ALTER TABLE %s ATTACH PARTITION %s %s; %s -- and find out who detached it, and what was changed since',
                parent, relation.name, pg_get_expr(relpartbound, relation.oid),
                (SELECT string_agg(format('ALTER TABLE %s ENABLE %s TRIGGER %I;', trigger.relation, enabled, tgname), ' ' ORDER BY tgname)
                    FROM trigger WHERE trigger.relation = relation.name AND trigger.parent IS NOT NULL))
            ELSE format('ALTER TABLE %s NO INHERIT ...; -- the table that it should not be a child of', relation.name) END, ''
    FROM relation LEFT JOIN LATERAL (
        SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) AS parent FROM pg_inherits WHERE inhrelid = relation.oid
    ) AS parents ON true WHERE relkind IN ('r', 'p')
    UNION ALL SELECT 'column', name, ARRAY['relation ' || relation], type,
        CASE word WHEN 'TYPE' THEN format('ALTER TYPE %s ALTER ATTRIBUTE %I TYPE {definition};', relation, attname)
            ELSE format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS %I {definition}; ALTER TABLE %s ALTER COLUMN %I TYPE {definition};', relation, attname, relation, attname) END,
        CASE word WHEN 'TYPE' THEN format('ALTER TYPE %s DROP ATTRIBUTE %I;', relation, attname)
            ELSE format('ALTER TABLE %s DROP COLUMN %I; -- or RENAME it, if it is one that is missing', relation, attname) END
    FROM attribute
    UNION ALL SELECT 'storage', name, ARRAY['column ' || name], storage, format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE {definition};', relation, attname), ''
    FROM attribute WHERE word = 'TABLE'
    UNION ALL SELECT 'default', name, ARRAY['column ' || name], "default", format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT {definition};', relation, attname),
        format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT;', relation, attname)
    FROM attribute WHERE "default" IS NOT NULL
    UNION ALL SELECT 'default', format('%s.%I', name, attname), ARRAY['relation ' || name], pg_get_expr(adbin, adrelid), '',
        format('ALTER VIEW %s ALTER COLUMN %I DROP DEFAULT;', name, attname)
    FROM relation JOIN pg_attrdef ON adrelid = relation.oid JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum WHERE relkind = 'v'
    UNION ALL SELECT 'not_null', name, ARRAY['column ' || name], 'NOT NULL', format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL;', relation, attname),
        format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL;', relation, attname)
    FROM attribute WHERE attnotnull AND word = 'TABLE'
    UNION ALL SELECT 'index', name, ARRAY['relation ' || relation] || CASE WHEN parent IS NOT NULL THEN ARRAY['parent ' || relation, 'index ' || parent] END, definition, format('DROP INDEX IF EXISTS %s; {definition};', name), format('DROP INDEX %s;', name) FROM index
    UNION ALL SELECT 'constraint', name, ARRAY['relation ' || relation] || CASE WHEN parent IS NOT NULL THEN ARRAY['parent ' || relation, 'constraint ' || parent] END, definition,
        format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I; ALTER TABLE %s ADD CONSTRAINT %I {definition};', relation, conname, relation, conname),
        format('ALTER TABLE %s DROP CONSTRAINT %I;', relation, conname) FROM "constraint"
    UNION ALL SELECT 'trigger', name, ARRAY['relation ' || relation] || CASE WHEN parent IS NOT NULL THEN ARRAY['parent ' || relation, 'trigger ' || parent] END, definition,
        format('DROP TRIGGER IF EXISTS %I ON %s; {definition}; ALTER TABLE %s ENABLE %s TRIGGER %I;', tgname, relation, relation, enabled, tgname),
        format('DROP TRIGGER %I ON %s;', tgname, relation) FROM trigger
    UNION ALL SELECT 'trigger_enabled', name, ARRAY['trigger ' || name], enabled, format('ALTER TABLE %s ENABLE %s TRIGGER %I;', relation, enabled, tgname), '' FROM trigger
    UNION ALL SELECT 'rule', format('%s.%I', relation.name, rulename), ARRAY['relation ' || relation.name], pg_get_ruledef(pg_rewrite.oid), '',
        format('DROP RULE %I ON %s;', rulename, relation.name) FROM relation JOIN pg_rewrite ON ev_class = relation.oid WHERE rulename <> '_RETURN'
    UNION ALL SELECT 'policy', format('%s.%I', relation.name, polname), ARRAY['relation ' || relation.name], polcmd::text, '',
        format('DROP POLICY %I ON %s;', polname, relation.name) FROM relation JOIN pg_policy ON polrelid = relation.oid
    UNION ALL SELECT 'routine', name, ARRAY[]::text[], CASE WHEN prokind IN ('f', 'p') THEN pg_get_functiondef(oid) ELSE word END,
        '{definition};', format('DROP %s %s;', word, name) FROM routine
    UNION ALL SELECT 'type', name, ARRAY[]::text[], CASE typtype WHEN 'd' THEN format('DOMAIN AS %s%s%s', format_type(typbasetype, typtypmod),
            COALESCE(' DEFAULT ' || typdefault, ''), CASE WHEN typnotnull THEN ' NOT NULL' ELSE '' END) ELSE 'TYPE ' || typtype::text END,
        CASE WHEN typnotnull THEN format('ALTER DOMAIN %s SET NOT NULL;', name) ELSE format('ALTER DOMAIN %s DROP NOT NULL; ALTER DOMAIN %s DROP DEFAULT;', name, name) END,
        format('DROP TYPE %s;', name) FROM domain
    UNION ALL SELECT 'domain_constraint', name, ARRAY['type ' || domain], definition,
        format('ALTER DOMAIN %s DROP CONSTRAINT IF EXISTS %I; ALTER DOMAIN %s ADD CONSTRAINT %I {definition};', domain, conname, domain, conname),
        format('ALTER DOMAIN %s DROP CONSTRAINT %I;', domain, conname) FROM domain_constraint
    UNION ALL SELECT 'event_trigger', name, ARRAY[]::text[], definition, format('DROP EVENT TRIGGER IF EXISTS %s; {definition}; ALTER EVENT TRIGGER %s ENABLE %s;', name, name, enabled),
        format('DROP EVENT TRIGGER %s;', name) FROM event_trigger
    UNION ALL SELECT 'event_trigger_enabled', name, ARRAY['event_trigger ' || name], enabled, format('ALTER EVENT TRIGGER %s ENABLE %s;', name, enabled), '' FROM event_trigger
    UNION ALL SELECT 'owner', format('%s %s', word, name), ARRAY[format('%s %s', kind, name)], CASE WHEN owned.owner = nspowner THEN 'the owner of {schema}' ELSE pg_get_userbyid(owned.owner)::text END,
        format('ALTER %s %s OWNER TO %s;', word, name, namespace.owner), '' FROM owned, namespace
    -- The function of an event trigger belongs to the administrator who created that trigger.
    UNION ALL SELECT 'owner', format('%s %s', word, name), ARRAY['routine ' || name],
        CASE WHEN proowner = ANY (owners) THEN 'the owner of its event trigger' ELSE pg_get_userbyid(proowner)::text END,
        '', format('ALTER %s %s OWNER TO %s;', word, name, COALESCE(quote_ident(pg_get_userbyid(owners[1])), '...'))
    FROM routine CROSS JOIN LATERAL (SELECT array_agg(evtowner) AS owners FROM pg_event_trigger WHERE evtfoid = routine.oid) AS event_triggers
    WHERE prorettype = 'event_trigger'::regtype
    UNION ALL SELECT 'owner', 'EVENT TRIGGER ' || quote_ident(evtname), ARRAY['event_trigger ' || quote_ident(evtname), format('owner %s %s', word, name)],
        CASE WHEN evtowner = proowner THEN 'the owner of its function' ELSE pg_get_userbyid(evtowner)::text END,
        '', format('ALTER EVENT TRIGGER %I OWNER TO %I;', evtname, pg_get_userbyid(proowner))
    FROM pg_event_trigger JOIN routine ON routine.oid = evtfoid
    -- All other kinds of objects, such as operators, collations, statistics, default privileges and
    -- casts.
    UNION ALL SELECT 'object', pg_describe_object(classid, objid, 0), ARRAY[]::text[], '', '', CASE identified.type
            WHEN 'default acl' THEN format('-- ALTER DEFAULT PRIVILEGES ... REVOKE takes back %s', pg_describe_object(classid, objid, 0))
            ELSE format('DROP %s %s;', replace(upper(identified.type), 'STATISTICS OBJECT', 'STATISTICS'), identified.identity) END
    FROM (
        SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = (SELECT oid FROM namespace)
        -- Default privileges of the owner for all schemas also apply to future partitions.
        UNION SELECT 'pg_default_acl'::regclass, pg_default_acl.oid FROM pg_default_acl CROSS JOIN LATERAL aclexplode(defaclacl) AS it
            WHERE defaclnamespace = 0 AND defaclrole = (SELECT nspowner FROM namespace) AND it.grantee <> defaclrole
                AND (defaclobjtype IN ('r', 'S') OR defaclobjtype = 'f' AND it.grantee <> 0)
        UNION SELECT 'pg_cast'::regclass, pg_cast.oid FROM pg_cast JOIN pg_type ON pg_type.oid IN (castsource, casttarget) WHERE typnamespace = (SELECT oid FROM namespace)
    ) AS it CROSS JOIN LATERAL pg_identify_object(classid, objid, 0) AS identified
    WHERE (classid, objid) NOT IN (SELECT classid, objid FROM made_along)
        AND classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_constraint'::regclass)
    UNION ALL SELECT 'privilege', format('%s ON %s %s TO %s', privilege, word, name, role) || CASE WHEN grantable THEN ' WITH GRANT OPTION' ELSE '' END, part_of, role,
        format('GRANT %s ON %s %s TO %s;', privilege, word, name, role),
        format('REVOKE %s ON %s %s FROM %s;', privilege, word, name, role)
    FROM privilege CROSS JOIN LATERAL (SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS role) AS named
)
SELECT json_build_object(
    'owner', (SELECT owner FROM namespace),
    'server', current_setting('server_version_num')::integer / 10000,
    'rows', COALESCE(json_agg(json_build_object('kind', kind, 'object', object, 'part_of', part_of, 'definition', definition, 'fix', fix, 'undo', undo)
        ORDER BY kind COLLATE "C", object COLLATE "C"), '[]'))::text
FROM found
