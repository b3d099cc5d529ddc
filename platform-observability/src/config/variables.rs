use std::ffi::OsString;
use std::ops::RangeInclusive;

use crate::Error;

/// The environment, or what a test puts in its place.
#[derive(Clone, Copy)]
pub(crate) struct Variables<'a>(pub(crate) &'a dyn Fn(&str) -> Option<OsString>);

impl Variables<'_> {
    /// A variable that is set to something: by OpenTelemetry's rule, empty is unset.
    pub(crate) fn read(self, variable: &str) -> Result<Option<String>, Error> {
        let Some(value) = (self.0)(variable) else {
            return Ok(None);
        };
        let value = value.into_string().map_err(|_| Error::Variable {
            variable: variable.to_owned(),
            problem: "is not UTF-8".to_owned(),
            remedy: "write it anew, or unset it",
        })?;
        let value = value.trim();
        Ok((!value.is_empty()).then(|| value.to_owned()))
    }

    /// `true` or `false`, in any case; unset is `false`.
    pub(crate) fn switch(self, variable: &str) -> Result<bool, Error> {
        match self.read(variable)? {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(Error::Variable {
                variable: variable.to_owned(),
                problem: format!("is `{value}`, which is neither true nor false"),
                remedy: "set it to `true` or `false`, or unset it",
            }),
        }
    }

    /// A whole number within `bounds`; none if it is unset.
    pub(crate) fn number(
        self,
        variable: &str,
        bounds: RangeInclusive<u64>,
        problem: &str,
        remedy: &'static str,
    ) -> Result<Option<u64>, Error> {
        let Some(value) = self.read(variable)? else {
            return Ok(None);
        };
        match value.parse() {
            Ok(number) if bounds.contains(&number) => Ok(Some(number)),
            _ => Err(Error::Variable {
                variable: variable.to_owned(),
                problem: format!("is `{value}`, {problem}"),
                remedy,
            }),
        }
    }

    /// The first of `variables` that is set, with its name.
    pub(crate) fn first(self, variables: [String; 2]) -> Result<Option<(String, String)>, Error> {
        for variable in variables {
            if let Some(value) = self.read(&variable)? {
                return Ok(Some((variable, value)));
            }
        }
        Ok(None)
    }
}

impl std::fmt::Debug for Variables<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Variables(..)")
    }
}
