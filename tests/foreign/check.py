"""Checks a published log, and proofs from it, with programs that others wrote.

    python check.py LOCATION VKEY [PROOF…]

LOCATION is a directory or a URL. Prints a JSON object: for each check, what was verified, or
`refused: ` and the reason.

Only the two formats that are specific to this log are read by code of this file: the record in the
extra data of a proof, and the entry that commits to it (platform-audit/src/seal/canonical.rs).
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

import aics_tlog
import metamorphic_log
import pymerkle
from tlog_scales import signing, tiles
from tlog_scales.backend import HttpBackend, LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.tlog import Checkpoint, InclusionProof

# The group of each column that is not plain, by the column's tag.
GROUPS = {8: 1, 9: 1, 11: 1, 19: 1, 23: 1, 24: 1, 14: 2, 22: 2, 18: 3}
CHANGES, DETAILS = 27, 28
MEMBERS = {CHANGES: 4, DETAILS: 5}


class Refused(Exception):
    pass


def require(condition, message):
    if not condition:
        raise Refused(message)


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


# ---- the log ------------------------------------------------------------------------------------


class Log:
    """A published log, as tlog-scales reads it."""

    def __init__(self, location, vkey):
        is_url = location.startswith(("http://", "https://"))
        self.folder = None if is_url else Path(location)
        self.backend = HttpBackend(location) if is_url else LocalBackend(self.folder)
        self.vkey = vkey

    def note(self):
        note = self.backend.get("checkpoint")
        require(note is not None, "there is no checkpoint")
        return note.decode()

    def older(self):
        """The notes of the checkpoints that were published before; a server lists none."""
        files = sorted((self.folder / "checkpoints").glob("[0-9]*")) if self.folder else []
        return [file.read_text() for file in files]

    def reader(self, size):
        reader = TilesReader(self.backend)
        reader.set_size(size)
        return reader

    # What aics-tlog reads with.
    def read_tile(self, level, index, width):
        return self.backend.get(*tiles.tile_path(level, index, width or 0))

    def read_entry_bundle(self, index, width):
        return self.read_tile(-1, index, width)


def by_tlog_scales(log):
    """The signature, the root of the tiles, and that every entry is in it."""
    checkpoint = Checkpoint.from_text(log.note())
    vkey = signing.Vkey.from_string(log.vkey)
    checkpoint.verify(vkey)
    size = checkpoint.size
    reader = log.reader(size)
    require(reader.calculate_root_hash() == checkpoint.root_hash, "another root")
    for index in range(size):
        leaf = tiles.leaf_hash(reader.get_entry(index))
        reader.get_inclusion_proof(index, size).check(leaf, checkpoint.root_hash)
    older = [Checkpoint.from_text(note) for note in log.older()]
    for old in older:
        old.verify(vkey)
        reader.get_consistency_proof(old.size, size).check(old.root_hash, checkpoint.root_hash)
    return f"{size} entries included; {len(older)} checkpoints consistent"


def by_aics_tlog(log):
    """Every tile and bundle."""
    note = aics_tlog.parse_note(log.note())
    signed = aics_tlog.verify_checkpoint(note, aics_tlog.parse_vkey(log.vkey))
    require(signed.ok, signed.error)
    report = aics_tlog.audit_tiles(log, signed.size, signed.root)
    return f"{report.tiles} tiles and {report.bundles} bundles"


def by_pymerkle(log):
    """The root and the proofs, from the entries alone."""
    checkpoint = Checkpoint.from_text(log.note())
    size = checkpoint.size
    reader = log.reader(size)
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    tree.append_entries([reader.get_entry(index) for index in range(size)])
    require(tree.get_root(size) == checkpoint.root_hash, "the entries have another root")
    for index in range(size):
        path = tree.prove_inclusion(index + 1, size).path[1:]
        hashes = reader.get_inclusion_proof(index, size).node_hashes
        require(path == hashes, f"another proof of entry {index}")
    return f"{size} entries and their proofs"


def by_metamorphic_log(log):
    """The notes, and proofs between them."""
    note, keys = log.note(), [log.vkey]
    head = metamorphic_log.checkpoint_verify(note, keys)
    reader = log.reader(head.size)
    for index in range(head.size):
        leaf = tiles.leaf_hash(reader.get_entry(index))
        hashes = reader.get_inclusion_proof(index, head.size).node_hashes
        metamorphic_log.checkpoint_verify_inclusion(note, keys, index, leaf, hashes)
    older = log.older()
    for old in older:
        size = metamorphic_log.checkpoint_verify(old, keys).size
        hashes = reader.get_consistency_proof(size, head.size).node_hashes
        metamorphic_log.checkpoint_verify_consistency(old, note, keys, hashes)
    return f"{head.size} entries included; {len(older)} checkpoints consistent"


# ---- a proof ------------------------------------------------------------------------------------


class Proof:
    """A file of C2SP tlog-proof, whose extra data is a record."""

    def __init__(self, text):
        head, separator, self.note = text.partition("\n\n")
        lines = head.split("\n")
        require(separator and lines[0] == "c2sp.org/tlog-proof@v1", "this is not a proof")
        require(lines[1].startswith("extra "), "the proof contains no record")
        require(lines[2].startswith("index "), "the proof has no index")
        extra = base64.b64decode(lines[1][6:], validate=True)
        self.index = int(lines[2][6:])
        self.hashes = [base64.b64decode(line, validate=True) for line in lines[3:]]
        self.entry = record_entry(extra[:16], extra[16:])
        self.leaf = tiles.leaf_hash(self.entry)


def record_entry(salt, record):
    """The entry that commits to a record: see canonical.rs."""
    values = {}
    while record:
        length = int.from_bytes(record[2:6])
        require(len(record) >= 6 + length, "a value is truncated")
        values[record[0]] = record[: 6 + length]
        record = record[6 + length :]
    commitments = []

    def commit(group, field, value):
        name = bytes([group]) + len(field).to_bytes(2) + field
        salted = sha256(b"\x05", salt, name)
        commitments.append(name + sha256(b"\x02", salted, name, value))

    for group in (1, 2, 3):
        value = b"".join(values[tag] for tag in sorted(values) if GROUPS.get(tag) == group)
        if value:
            commit(group, b"", value)
    for tag, group in MEMBERS.items():
        for field, text in members(values[tag][6:].decode()):
            value = bytes([tag, 5]) + len(text).to_bytes(4) + text
            commit(group, field, value)
    plain = (values[tag] for tag in sorted(values) if tag not in GROUPS and tag not in MEMBERS)
    digest = sha256(
        b"\x04", sha256(b"\x03", *plain), len(commitments).to_bytes(2), *commitments
    )
    identity = values[1][6:]
    if values[1][1] == 4:  # SQLite stores it as a text.
        identity = bytes.fromhex(identity.decode().replace("-", ""))
    return b"\x01\x01" + identity + digest


def members(text):
    """The members of a JSON object, with the exact text of their values."""
    decoder, at, found = json.JSONDecoder(), 1, []

    def skip():
        nonlocal at
        while text[at] in " \t\r\n,:":
            at += 1

    skip()
    while text[at] != "}":
        field, at = json.decoder.scanstring(text, at + 1)
        skip()
        _, end = decoder.raw_decode(text, at)
        found.append((field.encode(), text[at:end].encode()))
        at = end
        skip()
    return found


def proof_by_tlog_scales(log, path):
    proof = Proof(Path(path).read_text())
    checkpoint = Checkpoint.from_text(proof.note)
    checkpoint.verify(signing.Vkey.from_string(log.vkey))
    inclusion = InclusionProof(proof.index, checkpoint.size, proof.hashes)
    inclusion.check(proof.leaf, checkpoint.root_hash)


def proof_by_metamorphic_log(log, path):
    proof = Proof(Path(path).read_text())
    metamorphic_log.checkpoint_verify_inclusion(
        proof.note, [log.vkey], proof.index, proof.leaf, proof.hashes
    )


def proof_by_aics_tlog(log, path):
    proof = Proof(Path(path).read_text())
    note = aics_tlog.parse_note(proof.note)
    signed = aics_tlog.verify_checkpoint(note, aics_tlog.parse_vkey(log.vkey))
    require(signed.ok, signed.error)
    included = aics_tlog.verify_inclusion(
        proof.leaf, proof.index, signed.size, proof.hashes, signed.root
    )
    require(included, "the entry is not included")


# ---- the report ---------------------------------------------------------------------------------


def outcome(check, *arguments):
    try:
        return check(*arguments) or "verified"
    except Exception as error:  # Each program has errors of its own.
        return f"refused: {type(error).__name__}: {error}"


def main(location, vkey, *proofs):
    log = Log(location, vkey)
    report = {
        "tlog-scales": outcome(by_tlog_scales, log),
        "aics-tlog": outcome(by_aics_tlog, log),
        "pymerkle": outcome(by_pymerkle, log),
        "metamorphic-log": outcome(by_metamorphic_log, log),
    }
    for path in proofs:
        name = Path(path).name
        report[f"{name} by tlog-scales"] = outcome(proof_by_tlog_scales, log, path)
        report[f"{name} by metamorphic-log"] = outcome(proof_by_metamorphic_log, log, path)
        report[f"{name} by aics-tlog"] = outcome(proof_by_aics_tlog, log, path)
    json.dump(report, sys.stdout, indent=1)


main(*sys.argv[1:])
