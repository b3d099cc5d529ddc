//! The version and the revision of the service.

/// The version and the revision of the calling crate, for
/// [`TelemetryBuilder::build_info`](crate::TelemetryBuilder::build_info).
///
/// The version is that in its `Cargo.toml`. The rest is read from the environment **of the
/// compiler**, and omitted if it is not set there:
///
/// - `vcs.ref.head.revision` from `VCS_REF_HEAD_REVISION`, else `GITHUB_SHA`, `CI_COMMIT_SHA` or
///   `VERGEN_GIT_SHA`,
/// - `vcs.ref.head.name` from `VCS_REF_HEAD_NAME`, else `GITHUB_REF_NAME`, `CI_COMMIT_REF_NAME` or
///   `VERGEN_GIT_BRANCH`,
/// - `vcs.repository.url.full` from `VCS_REPOSITORY_URL_FULL`, else `repository` in `Cargo.toml`.
///
/// Cargo rebuilds a crate when one of these variables has changed. To set one manually:
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

/// The version and the revision of a service; created by [`build_info!`](crate::build_info).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "pass it to the builder"]
pub struct BuildInfo {
    pub(crate) version: String,
    pub(crate) revision: Option<String>,
    pub(crate) ref_name: Option<String>,
    pub(crate) repository: Option<String>,
}

impl BuildInfo {
    /// Contains only a version, such as `1.4.2`.
    pub fn new(version: impl Into<String>) -> Self {
        Self {
            version: version.into(),
            ..Self::default()
        }
    }

    /// Sets the revision, such as a commit's full hash, to the first of `revisions` that is not
    /// empty.
    pub fn first_revision<const N: usize>(mut self, revisions: [Option<&str>; N]) -> Self {
        self.revision = first(revisions);
        self
    }

    /// Sets the branch or tag to the first of `names` that is not empty.
    pub fn first_ref_name<const N: usize>(mut self, names: [Option<&str>; N]) -> Self {
        self.ref_name = first(names);
        self
    }

    /// Sets the repository to the first of `urls` that is not empty, unless it contains
    /// credentials.
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
    fn the_first_value_that_is_not_empty_is_used_unless_it_contains_credentials() {
        let info = BuildInfo::new("1.0.0")
            .first_revision([None, Some(" "), Some("abc\n"), Some("def")])
            .first_repository([Some("https://token@example.org/it"), None]);
        assert_eq!(info.revision.as_deref(), Some("abc"));
        assert_eq!(info.ref_name, None);
        assert_eq!(info.repository, None, "it contains a token");
    }

    #[test]
    fn the_macro_uses_the_version_of_the_calling_crate() {
        let info = crate::build_info!();
        assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    }
}
