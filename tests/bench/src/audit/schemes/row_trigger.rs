//! A trigger that copies each changed row, like supa_audit. Handlers need no code for it, and
//! records do not contain the actor, the reason or the client's address.

use super::{Scheme, unaudited};

pub(super) const SCHEME: Scheme = Scheme {
    key: "row_trigger",
    name: "(e) row trigger (supa_audit)",
    records: "record_version",
    set_up: |installation| Box::pin(installation.run(TABLE)),
    service: |pool| Box::pin(async { unaudited::service(pool) }),
};

const TABLE: &str = "
    CREATE TABLE record_version (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, record_id uuid, old_record_id uuid, op text NOT NULL,
        ts timestamptz NOT NULL DEFAULT now(), table_oid oid NOT NULL, table_schema name NOT NULL, table_name name NOT NULL,
        record jsonb, old_record jsonb
    );
    CREATE INDEX record_version_record_id ON record_version (record_id) WHERE record_id IS NOT NULL;
    CREATE INDEX record_version_old_record_id ON record_version (old_record_id) WHERE old_record_id IS NOT NULL;
    CREATE INDEX record_version_ts ON record_version USING brin (ts);
    CREATE INDEX record_version_table_oid ON record_version (table_oid);
    CREATE FUNCTION keep_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
    DECLARE
        new_row jsonb := to_jsonb(NEW);
        old_row jsonb := to_jsonb(OLD);
    BEGIN
        INSERT INTO public.record_version (record_id, old_record_id, op, table_oid, table_schema, table_name, record, old_record)
        VALUES (
            md5(TG_RELID::text || (new_row ->> 'id'))::uuid, md5(TG_RELID::text || (old_row ->> 'id'))::uuid,
            TG_OP, TG_RELID, TG_TABLE_SCHEMA, TG_TABLE_NAME, new_row, old_row);
        RETURN COALESCE(NEW, OLD);
    END $$;
    CREATE TRIGGER keep_version AFTER INSERT OR UPDATE OR DELETE ON entry FOR EACH ROW EXECUTE FUNCTION keep_version()";
