#[derive(Auditable)]
#[audit(resource = "entry")]
pub struct Entry<'a, T: Serialize, const N: usize = 1>
where
    T: Send,
{
    #[audit(id, rename = "number")]
    id: u64,
    r#type: &'a str,
    lines: [T; N],
    #[audit(redact)]
    iban: String,
    #[audit(redact)]
    #[audit(rename = "owner")]
    holder: Party,
    #[audit(skip)]
    cache: Cache,
}
