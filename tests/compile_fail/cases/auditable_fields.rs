use platform_audit::Auditable;

#[derive(Auditable)]
#[audit(resource = "entry")]
struct NoId {
    id: u64,
}

#[derive(Auditable)]
#[audit(resource = "entry")]
struct TwoIds {
    #[audit(id)]
    id: u64,
    #[audit(id)]
    number: u64,
}

#[derive(Auditable)]
#[audit(resource = "entry")]
struct RedactedId {
    #[audit(id, redact)]
    id: u64,
}

#[derive(Auditable)]
#[audit(resource = "entry")]
struct SkippedId {
    #[audit(id, skip)]
    id: u64,
}

#[derive(Auditable)]
#[audit(resource = "entry")]
struct Fields {
    #[audit(id)]
    id: u64,
    #[audit(skip, redact)]
    skipped_and_redacted: u64,
    #[audit(skip, rename = "other")]
    skipped_and_renamed: u64,
    amount: u64,
    #[audit(rename = "amount")]
    renamed_to_another: u64,
    #[audit(rename = "")]
    renamed_to_nothing: u64,
    #[audit(rename)]
    renamed_to: u64,
    #[audit(redcat)]
    misspelt: u64,
    #[audit(redact, redact)]
    repeated: u64,
    #[audit(redact = true)]
    valued: u64,
    #[audit]
    bare: u64,
}

fn main() {}
