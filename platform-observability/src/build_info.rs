//! What was built, and from what.

/// The version of the calling crate, and the revision that it was built from, for
/// [`TelemetryBuilder::build_info`](crate::TelemetryBuilder::build_info).
///
/// The version is that in its `Cargo.toml`. The rest is read from the environment **of the
/// compiler**, and left out where that says nothing:
///
/// - `vcs.ref.head.revision` from `VCS_REF_HEAD_REVISION`, else `GITHUB_SHA`, `CI_COMMIT_SHA` or
///   `VERGEN_GIT_SHA`,
/// - `vcs.ref.head.name` from `VCS_REF_HEAD_NAME`, else `GITHUB_REF_NAME`, `CI_COMMIT_REF_NAME` or
///   `VERGEN_GIT_BRANCH`,
/// - `vcs.repository.url.full` from `VCS_REPOSITORY_URL_FULL`, else `repository` in `Cargo.toml`.
///
/// Cargo builds a crate anew when one of them has changed. By hand:
/// `VCS_REF_HEAD_REVISION=$(git rev-parse HEAD) cargo build`.
///
/// ```no_run
/// use platform_observability::{Telemetry, build_info};
///
/// let telemetry = Telemetry::builder("accounting").build_info(build_info!()).init()?;
/// # Ok::<_, platform_observability::Error>(())
/// ```
#[macro_export]
macro_rules! build_info {
    () => {
        $crate::BuildInfo::new(env!("CARGO_PKG_VERSION"))
            .first_revision([
                option_env!("VCS_REF_HEAD_REVISION"),
                option_env!("GITHUB_SHA"),
                option_env!("CI_COMMIT_SHA"),
                option_env!("VERGEN_GIT_SHA"),
            ])
            .first_ref_name([
                option_env!("VCS_REF_HEAD_NAME"),
                option_env!("GITHUB_REF_NAME"),
                option_env!("CI_COMMIT_REF_NAME"),
                option_env!("VERGEN_GIT_BRANCH"),
            ])
            .first_repository([
                option_env!("VCS_REPOSITORY_URL_FULL"),
                option_env!("CARGO_PKG_REPOSITORY"),
            ])
    };
}

/// What a service was built from; made by [`build_info!`](crate::build_info).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "it does nothing before it is given to the builder"]
pub struct BuildInfo {
    pub(crate) version: String,
    pub(crate) revision: Option<String>,
    pub(crate) ref_name: Option<String>,
    pub(crate) repository: Option<String>,
}

impl BuildInfo {
    /// Of a version, such as `1.4.2`.
    pub fn new(version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            ..Self::default()
        }
    }

    /// The first of `revisions` that says something, such as a commit's full hash.
    pub fn first_revision<const N: usize>(mut self, revisions: [Option<&str>; N]) -> Self {
        self.revision = first(revisions);
        self
    }

    /// The first of `names` that says something: the branch or tag.
    pub fn first_ref_name<const N: usize>(mut self, names: [Option<&str>; N]) -> Self {
        self.ref_name = first(names);
        self
    }

    /// The first of `urls` that says something. One with credentials is left out.
    pub fn first_repository<const N: usize>(mut self, urls: [Option<&str>; N]) -> Self {
        self.repository = first(urls).filter(|url| !url.contains('@'));
        self
    }
}

fn first<const N: usize>(values: [Option<&str>; N]) -> Option<String> {
    let values = values.into_iter().flatten().map(str::trim);
    let mut values = values.filter(|value| !value.is_empty());
    values.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::BuildInfo;

    #[test]
    fn the_first_that_says_something_counts() {
        let info = BuildInfo::new("1.0.0")
            .first_revision([None, Some(" "), Some("abc\n"), Some("def")])
            .first_repository([Some("https://token@example.org/it"), None]);
        assert_eq!(info.revision.as_deref(), Some("abc"));
        assert_eq!(info.ref_name, None);
        assert_eq!(info.repository, None, "it holds a token");
    }

    #[test]
    fn the_macro_knows_the_crate_that_calls_it() {
        let info = crate::build_info!();
        assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    }
}
