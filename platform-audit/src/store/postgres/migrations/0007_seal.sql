-- The sealed log: a Merkle tree (RFC 6962) over the records, in the order in which the sealer saw
-- them committed. These tables contain no personal data: salts and hashes only.

-- One row for each sealed record. The digest covers every column of the record; the salt hides the
-- values behind the digest. Without a foreign key, so that a writer of records pays nothing.
CREATE TABLE {schema}.seal (
    position    bigint      NOT NULL PRIMARY KEY CHECK (position >= 0),
    recorded_at timestamptz NOT NULL,
    id          uuid        NOT NULL,
    salt        bytea       NOT NULL CHECK (octet_length(salt) = 16),
    digest      bytea       NOT NULL CHECK (octet_length(digest) = 32),
    -- The first two bytes of each hash that the digest combines: they name a changed value.
    hints       bytea       NOT NULL CHECK (octet_length(hints) <= 8192),
    -- Reserved for erasure: the commitments of erased values.
    erased      jsonb
);
-- An id is sealed once. A second record with the same id stays without a seal, and is reported.
CREATE UNIQUE INDEX seal_id ON {schema}.seal (id);

-- The entries of the log that are not records: signing keys and restores.
CREATE TABLE {schema}.log_entry (
    position bigint NOT NULL PRIMARY KEY CHECK (position >= 0),
    entry    bytea  NOT NULL CHECK (octet_length(entry) BETWEEN 2 AND 65535)
);

-- Full tiles of the tree (C2SP tlog-tiles): 256 hashes each, and the root of the subtree below.
CREATE TABLE {schema}.tile (
    level  smallint NOT NULL CHECK (level BETWEEN 0 AND 7),
    index  bigint   NOT NULL CHECK (index >= 0),
    root   bytea    NOT NULL CHECK (octet_length(root) = 32),
    hashes bytea    NOT NULL CHECK (octet_length(hashes) = 8192),
    PRIMARY KEY (level, index)
);
-- Hashes cannot be compressed.
ALTER TABLE {schema}.tile ALTER hashes SET STORAGE EXTERNAL;

-- Signed checkpoints (C2SP tlog-checkpoint), as they were published.
CREATE TABLE {schema}.checkpoint (
    size      bigint      NOT NULL PRIMARY KEY CHECK (size > 0),
    note      text COLLATE "C" NOT NULL CHECK (octet_length(note) <= 100000),
    signed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The state of the sealer, which locks this row while it works: a single row.
CREATE TABLE {schema}.tree (
    only_row          boolean     NOT NULL PRIMARY KEY DEFAULT true CHECK (only_row),
    size              bigint      NOT NULL CHECK (size >= 0),
    root              bytea       NOT NULL CHECK (octet_length(root) = 32),
    -- The records whose transactions are visible in this snapshot have been sealed.
    seen              pg_snapshot NOT NULL,
    -- The server on which this was written: its transaction numbers mean nothing to another one.
    system_identifier bigint      NOT NULL,
    timeline_id       integer     NOT NULL,
    sealed_at         timestamptz NOT NULL
);
INSERT INTO {schema}.tree (size, root, seen, system_identifier, timeline_id, sealed_at)
    -- The root of the empty tree is the hash of no bytes.
    SELECT 0, sha256(''), '1:1:', (SELECT system_identifier FROM pg_control_system()),
        (SELECT timeline_id FROM pg_control_checkpoint()), clock_timestamp();

CREATE TRIGGER seal_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.seal
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
ALTER TABLE {schema}.seal ENABLE ALWAYS TRIGGER seal_append_only;
CREATE TRIGGER log_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.log_entry
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
ALTER TABLE {schema}.log_entry ENABLE ALWAYS TRIGGER log_entry_append_only;
CREATE TRIGGER tile_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.tile
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
ALTER TABLE {schema}.tile ENABLE ALWAYS TRIGGER tile_append_only;
CREATE TRIGGER checkpoint_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {schema}.checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
ALTER TABLE {schema}.checkpoint ENABLE ALWAYS TRIGGER checkpoint_append_only;
CREATE TRIGGER tree_kept BEFORE DELETE OR TRUNCATE ON {schema}.tree
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.refuse_change();
ALTER TABLE {schema}.tree ENABLE ALWAYS TRIGGER tree_kept;

-- A record with the partition that contains it, for the verifier.
CREATE VIEW {schema}.sealed_record AS SELECT tableoid, * FROM {schema}.record;
