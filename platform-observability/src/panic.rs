//! Panics as log records.

use std::panic::PanicHookInfo;

/// Logs each panic of the process as an error, inside its span: the location, and the message if
/// that is a literal. A formatted message may contain personal data. With `shows_message`, the
/// previous hook is also called, which prints the message.
pub(crate) fn log_panics(shows_message: bool) {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        log(panic);
        if shows_message {
            previous(panic);
        }
    }));
}

fn log(panic: &PanicHookInfo<'_>) {
    let (file, line) = match panic.location() {
        Some(location) => (location.file(), location.line()),
        None => ("an unknown location", 0),
    };
    let literal = panic.payload().downcast_ref::<&'static str>();
    let message = literal.unwrap_or(&"(the message is withheld, as it may contain data)");
    let thread = std::thread::current();
    tracing::error!(
        target: "platform_observability::panic",
        {
            "exception.type" = "panic",
            "code.file.path" = file,
            "code.line.number" = line,
            "thread.name" = thread.name(),
        },
        "panicked at {file}:{line}: {message}"
    );
}

#[cfg(test)]
mod tests {
    use super::log;
    use crate::testing::Capture;

    #[test]
    fn a_panic_is_logged_with_its_location_and_without_data() {
        let capture = Capture::start();
        // Other tests of the process may panic meanwhile.
        let (before, own) = (std::panic::take_hook(), std::thread::current().id());
        std::panic::set_hook(Box::new(move |panic| {
            match std::thread::current().id() == own {
                true => log(panic),
                false => before(panic),
            }
        }));
        let iban = "DE02120300000000202051";
        std::panic::catch_unwind(|| panic!("a literal")).unwrap_err();
        std::panic::catch_unwind(|| panic!("no account {iban}")).unwrap_err();
        let _ = std::panic::take_hook();
        let logs = capture.logs();
        assert_eq!(logs.len(), 2, "{logs:#?}");
        assert!(logs[0].text.ends_with(": a literal"), "{logs:#?}");
        assert!(logs[1].text.contains("withheld"), "{logs:#?}");
        let file = ("code.file.path".to_owned(), format!("{:?}", file!()));
        for log in &logs {
            assert!(log.text.contains(file!()), "{log:#?}");
            assert!(
                log.attributes.iter().any(|(key, _)| *key == file.0),
                "{log:#?}"
            );
            assert!(!format!("{log:?}").contains(iban));
        }
    }
}
