//! A redacted value appears in no output, however it is nested and changed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::box_collection,
    clippy::redundant_allocation,
    clippy::linkedlist,
    reason = "what goes wrong fails the test"
)]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use platform_audit::{Actor, Audit, AuditRecord, AuditTx, Auditable};
use platform_harness::database::TestDatabase;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use serde::Serialize;
use sqlx::{Sqlite, SqlitePool};

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Auditable, Serialize)]
#[audit(resource = "account")]
struct Account {
    #[audit(id)]
    number: u64,
    #[audit(redact)]
    iban: String,
    #[audit(redact, rename = "holder")]
    owner: Option<String>,
    balance: i64,
}

#[derive(Clone, Debug, Auditable, Serialize)]
#[audit(resource = "person")]
struct Person {
    #[audit(id)]
    id: u64,
    #[audit(redact)]
    pin: String,
    #[audit(skip)]
    password: String,
    main: Account,
    spare: Option<Account>,
    others: Vec<Account>,
    pair: [Account; 2],
    by_name: BTreeMap<String, Account>,
    by_number: HashMap<u64, Account>,
    boxed: Box<Account>,
    shared: Arc<Option<Vec<Account>>>,
    #[audit(rename = "given_name")]
    name: String,
}

/// A resource with a field for each container of an account, directly, in a `Box` and behind a `&`.
macro_rules! everything {
    ($($name:ident: $type:ty = $make:expr;)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        #[derive(Auditable, Serialize)]
        #[audit(resource = "bare")]
        struct Bare {
            #[audit(id)]
            id: u64,
            $($name: $type,)*
        }

        #[derive(Auditable, Serialize)]
        #[audit(resource = "boxed")]
        struct Boxed {
            #[audit(id)]
            id: u64,
            $($name: Box<$type>,)*
        }

        #[derive(Auditable, Serialize)]
        #[audit(resource = "borrowed")]
        struct Borrowed<'a> {
            #[audit(id)]
            id: u64,
            $($name: &'a $type,)*
        }

        impl Bare {
            fn new() -> Self {
                Self { id: 1, $($name: $make,)* }
            }

            fn borrowed(&self) -> Borrowed<'_> {
                Borrowed { id: self.id, $($name: &self.$name,)* }
            }

            fn boxed(self) -> Boxed {
                Boxed { id: self.id, $($name: Box::new(self.$name),)* }
            }
        }
    };
}
everything! {
    optional: Option<Account> = Some(secret());
    array: [Account; 2] = [secret(), secret()];
    vec: Vec<Account> = vec![secret()];
    deque: VecDeque<Account> = VecDeque::from([secret()]);
    linked: LinkedList<Account> = LinkedList::from([secret()]);
    heap: BinaryHeap<Account> = BinaryHeap::from([secret()]);
    ordered: BTreeSet<Account> = BTreeSet::from([secret()]);
    hashed: HashSet<Account> = HashSet::from([secret()]);
    by_order: BTreeMap<u64, Account> = BTreeMap::from([(1, secret())]);
    by_hash: HashMap<u64, Account> = HashMap::from([(1, secret())]);
    shared: Arc<Account> = Arc::new(secret());
    counted: Rc<Account> = Rc::new(secret());
    clone_on_write: Cow<'static, Account> = Cow::Owned(secret());
    nested: Arc<Option<Vec<Box<[Account; 1]>>>> = Arc::new(Some(vec![Box::new([secret()])]));
}

fn secret() -> Account {
    Account {
        number: 1,
        iban: format!("{SECRET}iban"),
        owner: Some(format!("{SECRET}owner")),
        balance: 0,
    }
}

/// The prefix of every redacted value, and of nothing else.
const SECRET: &str = "SECRET-";

fn account() -> impl Strategy<Value = Account> {
    (any::<u64>(), "[a-z0-9]{0,8}", any::<bool>(), any::<i64>()).prop_map(
        |(number, secret, held, balance)| Account {
            number,
            iban: format!("{SECRET}{secret}"),
            owner: held.then(|| format!("{SECRET}owner")),
            balance,
        },
    )
}

prop_compose! {
    fn person()(
        pin in "[0-9]{4}",
        accounts in prop::collection::vec(account(), 9),
        spare in any::<bool>(),
        name in "[a-z]{1,8}",
    ) -> Person {
        let [main, other, left, right, named, numbered, boxed, spared, shared] =
            <[Account; 9]>::try_from(accounts).unwrap();
        Person {
            id: 7,
            pin: format!("{SECRET}{pin}"),
            password: format!("{SECRET}password"),
            main,
            spare: spare.then_some(spared),
            others: vec![other],
            pair: [left, right],
            by_name: BTreeMap::from([("key".to_owned(), named)]),
            by_number: HashMap::from([(1, numbered)]),
            boxed: Box::new(boxed),
            shared: Arc::new(Some(vec![shared])),
            name,
        }
    }
}

/// The records of creating, changing and deleting a person.
async fn records(before: Person, after: Person) -> Vec<AuditRecord> {
    records_of(async |tx| {
        tx.created(&before);
        tx.updated(&before, &after);
        tx.deleted(&after);
        assert!(
            !format!("{tx:?}").contains(SECRET),
            "in the transaction's Debug"
        );
    })
    .await
}

/// The records that `work` writes.
async fn records_of(work: impl AsyncFn(&mut AuditTx<Sqlite>)) -> Vec<AuditRecord> {
    let database = TestDatabase::sqlite();
    let pool = SqlitePool::connect(database.url()).await.unwrap();
    let audit = Audit::builder(pool.clone(), "people")
        .development(true)
        .start()
        .await
        .unwrap();
    audit
        .transaction(
            Actor::system("test"),
            "person.change",
            async |tx: &mut AuditTx<Sqlite>| {
                work(tx).await;
                Ok::<_, std::convert::Infallible>(())
            },
        )
        .await
        .unwrap();
    let ids: Vec<(String,)> = sqlx::query_as("SELECT id FROM people_audit_record ORDER BY id")
        .fetch_all(&pool)
        .await
        .unwrap();
    let mut records = Vec::new();
    for (id,) in ids {
        records.push(audit.record(id.parse().unwrap()).await.unwrap().unwrap());
    }
    records
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_redacted_value_appears_in_any_output(before in person(), after in person()) {
        let records = run(records(before.clone(), after.clone()));
        prop_assert_eq!(records.len(), 3);
        let shown = format!("{} {records:?}", serde_json::to_string(&records).unwrap());
        prop_assert!(!shown.contains(SECRET), "{}", shown);
        prop_assert!(!shown.contains("password"), "a skipped field is not recorded");
        // The record still contains that it changed, and all other values.
        let updated = &records[1].changes;
        prop_assert_eq!(updated.contains_key("pin"), before.pin != after.pin);
        prop_assert_eq!(updated.contains_key("given_name"), before.name != after.name);
        prop_assert!(!updated.contains_key("id"));
        let main = records[0].changes["main"].after.as_ref().unwrap();
        prop_assert_eq!(&main["balance"], before.main.balance);
        prop_assert_eq!(&main["iban"], "[redacted]");
        prop_assert_eq!(&main["holder"], "[redacted]");
    }
}

#[test]
fn containers_preserve_the_redactions_of_their_resources() {
    let records = run(records_of(async |tx| {
        let bare = Bare::new();
        tx.created(&bare);
        tx.created(&bare.borrowed());
        tx.created(&bare.boxed());
    }));
    assert_eq!(records.len(), 3);
    for record in records {
        let shown = serde_json::to_string(&record).unwrap();
        assert!(!shown.contains(SECRET), "{shown}");
        for name in NAMES {
            let after = record.changes[*name].after.as_ref().unwrap().to_string();
            assert!(after.contains("[redacted]"), "{name}: {after}");
        }
    }
}

#[test]
fn a_change_of_only_a_nested_redacted_value_is_recorded() {
    let account = Account {
        number: 1,
        iban: format!("{SECRET}old"),
        owner: None,
        balance: 0,
    };
    let mut before = person()
        .new_tree(&mut Default::default())
        .unwrap()
        .current();
    before.others = vec![account.clone()];
    let mut after = before.clone();
    after.others[0].iban = format!("{SECRET}new");
    let records = run(records(before, after));
    let changed: Vec<_> = records[1].changes.keys().map(String::as_str).collect();
    assert_eq!(changed, ["others"]);
}
