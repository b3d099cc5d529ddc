-- The sealed log: a Merkle tree (RFC 6962) over the records, in the order of their commits. These
-- tables contain no personal data: salts and hashes only.

-- One row for each sealed record. The digest covers every column of the record; the salt hides the
-- values behind the digest.
CREATE TABLE {schema}_seal (
    position    INTEGER NOT NULL PRIMARY KEY CHECK (position >= 0),
    recorded_at TEXT NOT NULL,
    id          TEXT NOT NULL UNIQUE,
    salt        BLOB NOT NULL CHECK (length(salt) = 16),
    digest      BLOB NOT NULL CHECK (length(digest) = 32),
    -- The first two bytes of each hash that the digest combines: they name a changed value.
    hints       BLOB NOT NULL CHECK (length(hints) <= 8192),
    -- Reserved for erasure: the commitments of erased values.
    erased      TEXT
) STRICT;

-- The entries of the log that are not records: signing keys and restores.
CREATE TABLE {schema}_log_entry (
    position INTEGER NOT NULL PRIMARY KEY CHECK (position >= 0),
    entry    BLOB NOT NULL CHECK (length(entry) BETWEEN 2 AND 65535)
) STRICT;

-- Full tiles of the tree (C2SP tlog-tiles): 256 hashes each, and the root of the subtree below.
CREATE TABLE {schema}_tile (
    level  INTEGER NOT NULL CHECK (level BETWEEN 0 AND 7),
    "index" INTEGER NOT NULL CHECK ("index" >= 0),
    root   BLOB NOT NULL CHECK (length(root) = 32),
    hashes BLOB NOT NULL CHECK (length(hashes) = 8192),
    PRIMARY KEY (level, "index")
) STRICT;

-- Signed checkpoints (C2SP tlog-checkpoint), as they were published.
CREATE TABLE {schema}_checkpoint (
    size      INTEGER NOT NULL PRIMARY KEY CHECK (size > 0),
    note      TEXT NOT NULL CHECK (length(CAST(note AS BLOB)) <= 100000),
    signed_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;

-- The state of the sealer: a single row.
CREATE TABLE {schema}_tree (
    only_row  INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    size      INTEGER NOT NULL CHECK (size >= 0),
    root      BLOB NOT NULL CHECK (length(root) = 32),
    sealed_at TEXT NOT NULL
) STRICT;
-- The root of the empty tree is the SHA-256 of no bytes.
INSERT INTO {schema}_tree VALUES (1, 0, x'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'));

-- The records that are not sealed yet, in the order of their commits.
CREATE TABLE {schema}_unsealed (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id     TEXT NOT NULL
) STRICT;
INSERT INTO {schema}_unsealed (id) SELECT id FROM {schema}_record ORDER BY recorded_at, id;
CREATE TRIGGER {schema}_record_unsealed AFTER INSERT ON {schema}_record
BEGIN
    INSERT INTO {schema}_unsealed (id) VALUES (NEW.id);
END;

CREATE TRIGGER {schema}_seal_no_update BEFORE UPDATE ON {schema}_seal
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: UPDATE of {schema}_seal was refused');
END;
CREATE TRIGGER {schema}_seal_no_delete BEFORE DELETE ON {schema}_seal
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: DELETE from {schema}_seal was refused');
END;
-- INSERT OR REPLACE deletes the old row without firing delete triggers.
CREATE TRIGGER {schema}_seal_no_replace BEFORE INSERT ON {schema}_seal
WHEN EXISTS (SELECT 1 FROM {schema}_seal WHERE position = NEW.position OR id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: replacing a row of {schema}_seal was refused');
END;
CREATE TRIGGER {schema}_log_entry_no_update BEFORE UPDATE ON {schema}_log_entry
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: UPDATE of {schema}_log_entry was refused');
END;
CREATE TRIGGER {schema}_log_entry_no_delete BEFORE DELETE ON {schema}_log_entry
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: DELETE from {schema}_log_entry was refused');
END;
CREATE TRIGGER {schema}_tile_no_update BEFORE UPDATE ON {schema}_tile
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: UPDATE of {schema}_tile was refused');
END;
CREATE TRIGGER {schema}_tile_no_delete BEFORE DELETE ON {schema}_tile
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: DELETE from {schema}_tile was refused');
END;
CREATE TRIGGER {schema}_checkpoint_no_update BEFORE UPDATE ON {schema}_checkpoint
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: UPDATE of {schema}_checkpoint was refused');
END;
CREATE TRIGGER {schema}_checkpoint_no_delete BEFORE DELETE ON {schema}_checkpoint
BEGIN
    SELECT RAISE(ABORT, 'audit records are append-only: DELETE from {schema}_checkpoint was refused');
END;
