//! The entry of a record in the sealed log: a commitment to every value of the record.
//!
//! The bytes that the database returns are hashed; nothing is parsed and formatted again. Values
//! that may have to be erased are committed to in groups, each with a salt of its own, so that a
//! group can be erased while the entry, and with it the tree, stays provable:
//!
//! ```text
//! value   = tag u8 ‖ type u8 ‖ length u32be ‖ bytes            NULL is left out
//! name    = group u8 ‖ length u16be ‖ field name
//! salt_g  = SHA256(05 ‖ salt ‖ name)                           salt: 16 random bytes
//! c_g     = SHA256(02 ‖ salt_g ‖ name ‖ values of the group)
//! p       = SHA256(03 ‖ values of the plain columns)
//! digest  = SHA256(04 ‖ p ‖ number of groups u16be ‖ (name ‖ c_g)…)
//! entry   = version 01 ‖ kind 01 ‖ id (16 bytes) ‖ digest      50 bytes
//! ```
//!
//! Tags are permanent, and a new column is nullable without a default, so old entries stay valid.

use sha2::{Digest, Sha256};

use super::json::members;
use crate::record::{COLUMNS, Group};
use crate::store::Stored;

/// The version of the entry's format.
const VERSION: u8 = 1;
/// The kind of an entry that seals a record.
pub(crate) const RECORD: u8 = 1;
/// The kind of an entry that contains the verifier key of the log from here on.
pub(crate) const KEY: u8 = 2;
/// The kind of an entry that acknowledges that the database was restored. 4 and 5 are reserved for
/// erasing and retiring.
pub(crate) const RESTORE: u8 = 3;

pub(crate) type Salt = [u8; 16];

/// What the log commits to for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Commitment {
    pub(crate) digest: [u8; 32],
    /// Two bytes of `p`; then for each group its number and two bytes of `c_g`.
    pub(crate) hints: Vec<u8>,
}

/// A group of values that is erased as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupName {
    pub(crate) group: Group,
    /// The field, for [`Group::Changes`] and [`Group::Details`].
    pub(crate) field: String,
}

/// The entry of a record.
pub(crate) fn record_entry(id: &[u8; 16], digest: &[u8; 32]) -> [u8; 50] {
    let mut entry = [0; 50];
    entry[0] = VERSION;
    entry[1] = RECORD;
    entry[2..18].copy_from_slice(id);
    entry[18..].copy_from_slice(digest);
    entry
}

/// An entry of another kind.
pub(crate) fn other_entry(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut entry = vec![VERSION, kind];
    entry.extend_from_slice(body);
    entry
}

/// The kind and the body of an entry of a version that is known.
pub(crate) fn parse_entry(entry: &[u8]) -> Option<(u8, &[u8])> {
    match entry {
        [VERSION, kind, body @ ..] => Some((*kind, body)),
        _ => None,
    }
}

/// Commits to a record. `values` are in the order of [`COLUMNS`].
pub(crate) fn commit(values: &[Stored<'_>], salt: &Salt) -> Commitment {
    commit_to(values, salt, |_, _| {})
}

/// As [`commit`], and passes the name of each group to `name`, in the order of the hints.
fn commit_to(values: &[Stored<'_>], salt: &Salt, name: impl FnMut(Group, &str)) -> Commitment {
    let mut committing = Committing {
        salt,
        commitments: Vec::with_capacity(512),
        groups: 0,
        hints: vec![0; 2],
        scratch: Vec::with_capacity(1024),
        name,
    };
    for group in [Group::Who, Group::What, Group::Reason] {
        let values = columns(values).filter(|(column, _)| column.group == group);
        let values = values.map(|(column, value)| (column.tag, value));
        committing.group(group, "", values);
    }
    for group in [Group::Changes, Group::Details] {
        for (column, value) in columns(values).filter(|(column, _)| column.group == group) {
            let json = match value {
                Stored::Json(text) | Stored::Text(text) => text,
                _ => continue,
            };
            match members(json) {
                Some(members) => {
                    for (field, text) in &members {
                        let value = Stored::Json(text.as_bytes());
                        committing.group(group, field, [(column.tag, value)].into_iter());
                    }
                }
                // Not an object, which only the owner of the database can have stored.
                None => committing.group(group, "", [(column.tag, value)].into_iter()),
            }
        }
    }
    committing.finish(values)
}

fn columns<'a, 'v>(
    values: &'a [Stored<'v>],
) -> impl Iterator<Item = (&'static crate::record::Column, Stored<'v>)> + 'a {
    COLUMNS.iter().zip(values.iter().copied())
}

struct Committing<'a, F> {
    salt: &'a Salt,
    /// The names and commitments of the groups, as they are hashed.
    commitments: Vec<u8>,
    groups: u16,
    hints: Vec<u8>,
    scratch: Vec<u8>,
    name: F,
}

impl<F: FnMut(Group, &str)> Committing<'_, F> {
    /// Commits to a group, if it has a value.
    fn group<'v>(
        &mut self,
        group: Group,
        field: &str,
        values: impl Iterator<Item = (u8, Stored<'v>)>,
    ) {
        let name = group_name(group, field);
        self.scratch.clear();
        // Replaced with the salt of the group below.
        self.scratch.extend_from_slice(&[0; 33]);
        self.scratch.extend_from_slice(&name);
        let before = self.scratch.len();
        for (tag, value) in values {
            put(&mut self.scratch, tag, value);
        }
        if self.scratch.len() == before {
            return;
        }
        let salt = Sha256::new()
            .chain_update([5])
            .chain_update(self.salt)
            .chain_update(&name)
            .finalize();
        self.scratch[0] = 2;
        self.scratch[1..33].copy_from_slice(&salt);
        let commitment = Sha256::digest(&self.scratch);
        self.commitments.extend_from_slice(&name);
        self.commitments.extend_from_slice(&commitment);
        self.hints.push(group.number());
        self.hints.extend_from_slice(&commitment[..2]);
        self.groups = self.groups.saturating_add(1);
        (self.name)(group, field);
    }

    fn finish(mut self, values: &[Stored<'_>]) -> Commitment {
        self.scratch.clear();
        self.scratch.push(3);
        for (column, value) in columns(values).filter(|(column, _)| column.group == Group::Plain) {
            put(&mut self.scratch, column.tag, value);
        }
        let plain = Sha256::digest(&self.scratch);
        self.hints[..2].copy_from_slice(&plain[..2]);
        let digest = Sha256::new()
            .chain_update([4])
            .chain_update(plain)
            .chain_update(self.groups.to_be_bytes())
            .chain_update(&self.commitments)
            .finalize();
        Commitment {
            digest: digest.into(),
            hints: self.hints,
        }
    }
}

/// A group's name as it is hashed. A field's name is at most as long as the JSON that contains it;
/// of a longer one than 65,535 bytes only the length's low bits are hashed, which stays unambiguous
/// because one value follows.
fn group_name(group: Group, field: &str) -> Vec<u8> {
    let mut name = Vec::with_capacity(3 + field.len());
    name.push(group.number());
    name.extend_from_slice(&(field.len() as u16).to_be_bytes());
    name.extend_from_slice(field.as_bytes());
    name
}

/// Appends a value.
fn put(to: &mut Vec<u8>, tag: u8, value: Stored<'_>) {
    let mut value_of = |kind: u8, bytes: &[u8]| {
        to.extend_from_slice(&[tag, kind]);
        to.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        to.extend_from_slice(bytes);
    };
    match value {
        Stored::Null => {}
        Stored::Uuid(bytes) => value_of(1, &bytes),
        Stored::Micros(number) => value_of(2, &number.to_be_bytes()),
        Stored::Integer(number) => value_of(3, &number.to_be_bytes()),
        Stored::Text(bytes) => value_of(4, bytes),
        Stored::Json(bytes) => value_of(5, bytes),
    }
}

/// The values as they are hashed, in the order of [`COLUMNS`].
pub(crate) fn values_to_bytes(values: &[Stored<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (column, value) in columns(values) {
        put(&mut bytes, column.tag, value);
    }
    bytes
}

/// Reads what [`values_to_bytes`] wrote. `None` if it is not that.
pub(crate) fn values_from_bytes(mut bytes: &[u8]) -> Option<Vec<Stored<'_>>> {
    let mut values = vec![Stored::Null; COLUMNS.len()];
    while let Some((&[tag, kind, ref length @ ..], rest)) = bytes.split_first_chunk::<6>() {
        let at = COLUMNS.iter().position(|column| column.tag == tag)?;
        let length = u32::from_be_bytes(*length).try_into().ok()?;
        let (value, rest) = rest.split_at_checked(length)?;
        values[at] = match kind {
            1 => Stored::Uuid(value.try_into().ok()?),
            2 => Stored::Micros(i64::from_be_bytes(value.try_into().ok()?)),
            3 => Stored::Integer(i64::from_be_bytes(value.try_into().ok()?)),
            4 => Stored::Text(value),
            5 => Stored::Json(value),
            _ => return None,
        };
        bytes = rest;
    }
    bytes.is_empty().then_some(values)
}

/// The number of groups from which on it is the salt that was altered, if all of them differ.
const SALTED: usize = 3;

/// Names what differs between the `sealed` hints of a record and its present values. Empty if they
/// agree, so that not a value but the digest was altered; `None` if none of the salted ones
/// agrees, which means that the salt or the hints were altered.
pub(crate) fn differing(values: &[Stored<'_>], salt: &Salt, sealed: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let present = commit_to(values, salt, |group, field| {
        names.push(GroupName {
            group,
            field: field.to_owned(),
        });
    });
    let (plain, groups) = sealed.split_at_checked(2)?;
    let (present_plain, present_groups) = present.hints.split_at_checked(2)?;
    let mut found = Vec::new();
    let mut agree = 0;
    if plain != present_plain {
        found.push(Group::Plain.name().to_owned());
    }
    let mut sealed: Vec<&[u8]> = groups.chunks(3).collect();
    let mut changed = Vec::new();
    for (name, hint) in names.iter().zip(present_groups.chunks(3)) {
        match sealed.iter().position(|it| *it == hint) {
            Some(at) => {
                agree += 1;
                sealed.remove(at);
            }
            None => changed.push(name),
        }
    }
    for name in changed {
        // The sealed hint of the value that it replaced.
        let number = name.group.number();
        if let Some(at) = sealed.iter().position(|hint| hint[0] == number) {
            sealed.remove(at);
        }
        found.push(name.to_string());
    }
    for hint in sealed {
        let name = Group::from_number(hint[0]).map_or("a value", Group::name);
        found.push(format!("{name}, removed"));
    }
    (agree > 0 || names.len() < SALTED).then_some(found)
}

impl std::fmt::Display for GroupName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.field.is_empty() {
            f.write_str(self.group.name())
        } else {
            let field = crate::text::escape_controls(&self.field);
            write!(f, "{}.{field}", self.group.name())
        }
    }
}
