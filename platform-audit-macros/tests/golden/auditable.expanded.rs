#[automatically_derived]
impl<'a, T: Serialize, const N: usize> ::platform_audit::Auditable for Entry<'a, T, N>
where
    T: Send,
{
    const RESOURCE: &'static str = "entry";
    fn resource_id(&self) -> ::std::string::String {
        ::std::string::ToString::to_string(&self.id)
    }
    fn fields(&self, __fields: &mut ::platform_audit::__private::Fields) {
        __fields.field("number", ::platform_audit::__private::value!(& self.id));
        __fields.field("type", ::platform_audit::__private::value!(& self.r#type));
        __fields.field("lines", ::platform_audit::__private::value!(& self.lines));
        __fields.redacted("iban", ::platform_audit::__private::value!(& self.iban));
        __fields.redacted("owner", ::platform_audit::__private::value!(& self.holder));
    }
}
