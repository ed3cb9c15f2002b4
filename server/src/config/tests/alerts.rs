//! Where alerts go, and when a worker is worth one.

use std::num::NonZeroU32;
use std::time::Duration;

use lifeboat_core::settings::HealthSettings;

use super::super::HIDDEN;
use super::errors::{one, pool};
use super::{SMALL, parse, parse_with};

#[test]
fn nothing_is_posted_unless_somebody_says_where() {
    let alerts = parse(SMALL).unwrap().alerts;
    assert_eq!(alerts.webhook, None);
    assert_eq!((alerts.timeout, alerts.give_up_after), (Duration::from_secs(10), Duration::from_mins(1)));
}

#[test]
fn the_address_is_never_shown() {
    let text = format!("{SMALL}[alerts]\nwebhook = \"https://chat.example/T0/secret\"\n");
    let variable = [("LIFEBOAT__ALERTS__WEBHOOK", "http://127.0.0.1:9/secret")];
    for (config, address) in [
        (parse(&text).unwrap(), "https://chat.example/T0/secret"),
        (parse_with(SMALL, &variable).unwrap(), "http://127.0.0.1:9/secret"),
    ] {
        assert_eq!(config.alerts.webhook.as_deref(), Some(address));
        let shown = config.effective().iter().find(|each| each.key == "alerts.webhook").unwrap();
        assert_eq!(shown.value.as_deref(), Some(HIDDEN));
        assert!(!format!("{config:?}").contains("secret"), "{config:?}");
    }
}

#[test]
fn no_error_shows_the_address() {
    const ADDRESS: &str = "https://chat.example/T0/secret";
    for lines in [
        "alerts = { webhook = \"ADDRESS\", timeout = \"2m\" }\n",
        "alerts = {\n  webhok = \"ADDRESS\",\n}\n",
        "alerts.webhook = \"chat.example/T0/secret\"\n",
        "alerts = \"ADDRESS\"\n",
        "[alert]\nwebhook = \"ADDRESS\"\n",
        "[alerts]\nwebhook = [\"ADDRESS\"]\n",
        "[alerts]\nwebhok = \"ADDRESS\"\n",
        "[alerts]\nwebhook = ADDRESS\n",
        "[alerts]\nwebhook = \"ADDRESS\n",
        "[alerts]\n\n# where\nADDRESS\n",
        "[alerts]\nwebhook = \"off\"\nwebhook = \"ADDRESS\"\n",
        "[alerts]\nwebhook = \"\"\"\nADDRESS\"\n",
        "[alerts.webhook]\nurl = \"ADDRESS\"\n",
        "webhook = \"ADDRESS\"\n",
    ] {
        let text = format!("{}{SMALL}", lines.replace("ADDRESS", ADDRESS));
        let error = parse(&text).expect_err(&text);
        assert!(!error.to_string().contains("secret"), "{text}\n{error}");
        assert!(!format!("{error:?}").contains("secret"), "{text}\n{error:?}");
    }
    let other = parse("[pools.webhooks]\ncommand = [\"true\"]\nworkers = 0\n").unwrap_err().to_string();
    assert!(other.contains("3 | workers = 0"), "lines of others are shown: {other}");
    let variable = [("LIFEBOAT__ALERTS__WEBHOOK", "chat.example/secret")];
    let error = parse_with(SMALL, &variable).unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn an_address_is_one_of_the_web() {
    for address in ["chat.example/hook", "ftp://chat.example", "http://", "", "none"] {
        one(
            &format!("{SMALL}[alerts]\nwebhook = \"{address}\"\n"),
            "5:11 `alerts.webhook` must be an address such as \"https://example.org/hook\", or \"off\", not \"(hidden)\"",
        );
    }
}

#[test]
fn one_try_is_not_longer_than_all_of_them() {
    one(
        &format!("{SMALL}[alerts]\ntimeout = \"2m\"\n"),
        "5:11 `alerts.timeout` (2m) is longer than `alerts.give_up_after` (1m, the default)",
    );
}

#[test]
fn health_is_as_the_pool_says() {
    let health = |lines: &str| parse(&pool(lines)).unwrap().settings.pools[0].health;
    assert_eq!(health(""), HealthSettings::default());
    let said = health("unhealthy_after = 7\nunhealthy_on_failed = true\ndisable_unhealthy = true");
    let expected =
        HealthSettings { unhealthy_after: NonZeroU32::new(7).unwrap(), on_failed: true, disable: true };
    assert_eq!(said, expected);
}
