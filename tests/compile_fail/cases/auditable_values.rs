use platform_audit::Auditable;

struct Opaque;

#[derive(Auditable)]
#[audit(resource = "entry")]
struct Entry {
    #[audit(id)]
    id: Opaque,
    holder: Opaque,
}

fn main() {}
