use platform_audit::Auditable;

#[derive(Auditable)]
struct LedgerEntry {
    #[audit(id)]
    id: u64,
}

#[derive(Auditable)]
#[audit(resource = "Entry")]
struct Malformed {
    #[audit(id)]
    id: u64,
}

#[derive(Auditable)]
#[audit(resorce = "entry", resource = "entry", resource = "entry")]
struct MisspeltAndRepeated {
    #[audit(id)]
    id: u64,
}

#[derive(Auditable)]
#[audit(resource = "entry")]
struct Tuple(u64);

#[derive(Auditable)]
#[audit(resource = "entry")]
struct Unit;

#[derive(Auditable)]
#[audit(resource = "entry")]
enum Either {
    This,
    That,
}

#[derive(Auditable)]
#[audit(resource = "entry")]
union Both {
    this: u8,
    that: i8,
}

fn main() {}
