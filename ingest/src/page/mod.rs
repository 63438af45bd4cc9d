//! The page: what a browser gets, embedded in the program. It asks nobody but us.
//!
//! In: nothing. Out: files. `http` serves them; the page itself reads the same JSON API as anybody else.
//!
//! The Persian letters are Vazirmatn (SIL Open Font License 1.1, `vazirmatn-OFL.txt`), Arabic part, variable weight.

/// One file of the page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asset {
    /// Where it is served.
    pub(crate) path: &'static str,
    /// Its media type.
    pub(crate) mime: &'static str,
    /// Its bytes.
    pub(crate) bytes: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Every file of the page.
pub(crate) const ASSETS: &[Asset] = &[
    text("/", HTML, include_str!("index.html")),
    text("/page/page.css", CSS, include_str!("page.css")),
    text("/page/plant.css", CSS, include_str!("plant.css")),
    text("/page/api.js", SCRIPT, include_str!("api.js")),
    text("/page/app.js", SCRIPT, include_str!("app.js")),
    text("/page/charts.js", SCRIPT, include_str!("charts.js")),
    text("/page/dom.js", SCRIPT, include_str!("dom.js")),
    text("/page/list.js", SCRIPT, include_str!("list.js")),
    text("/page/plant.js", SCRIPT, include_str!("plant.js")),
    text("/page/records.js", SCRIPT, include_str!("records.js")),
    text("/page/text.js", SCRIPT, include_str!("text.js")),
    text("/page/icon.svg", "image/svg+xml", include_str!("icon.svg")),
    text(
        "/page/vazirmatn-OFL.txt",
        "text/plain; charset=utf-8",
        include_str!("vazirmatn-OFL.txt"),
    ),
    Asset {
        path: "/page/vazirmatn-arabic.woff2",
        mime: "font/woff2",
        bytes: PERSIAN_FONT_WOFF2,
    },
];

/// Vazirmatn's Arabic part, for documents that must look the same everywhere.
pub const PERSIAN_FONT_WOFF2: &[u8] = include_bytes!("vazirmatn-arabic.woff2");

const fn text(path: &'static str, mime: &'static str, text: &'static str) -> Asset {
    Asset {
        path,
        mime,
        bytes: text.as_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> impl Iterator<Item = (&'static str, &'static str)> {
        let page = |a: &&Asset| a.path == "/" || (a.path.starts_with("/page/") && !a.path.ends_with(".txt"));
        ASSETS
            .iter()
            .filter(page)
            .filter_map(|a| Some((a.path, std::str::from_utf8(a.bytes).ok()?)))
    }

    #[test]
    fn nothing_is_asked_of_anybody_else() {
        for (path, text) in texts() {
            let outside: Vec<_> = text
                .match_indices("//")
                .filter(|(at, _)| text[..*at].ends_with("http:") || text[..*at].ends_with("https:"))
                .filter(|(at, _)| !text[*at..].starts_with("//www.w3.org/"))
                .collect();
            assert!(outside.is_empty(), "{path} names an address outside");
        }
    }

    #[test]
    fn every_file_that_a_file_names_is_served() {
        for (path, text) in texts() {
            let absolute = text
                .split(['"', '\'', '(', ')'])
                .filter(|s| s.starts_with("/page/"));
            let imported = text
                .split(['"', '\''])
                .filter_map(|s| s.strip_prefix("./").map(|f| format!("/page/{f}")));
            for named in absolute.map(str::to_owned).chain(imported) {
                assert!(
                    ASSETS.iter().any(|asset| asset.path == named),
                    "{path} names {named}"
                );
            }
        }
    }

    #[test]
    fn a_scale_states_its_half_as_it_is() {
        let module = include_str!("charts.js");
        let function = module.split_once("export function decimals").unwrap().1;
        let function = function.split_once("\n}").unwrap().0;
        let script = format!(
            "function decimals{function}\n}}\nconst values = [0, 1, 0.75, 7.5, 0.5, 2.5, 25, 0.15, 1.5];\n\
             process.stdout.write(values.map((v) => v.toFixed(decimals(v))).join(' '));"
        );
        let output = std::process::Command::new("node")
            .args(["-e", &script])
            .output()
            .expect("node runs the page's arithmetic: apt-get install nodejs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(
            said,
            "0 1 0.75 7.5 0.5 2.5 25 0.15 1.5",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[test]
    fn both_languages_have_the_same_words() {
        let text = include_str!("text.js");
        let (english, rest) = text
            .split_once("en: {")
            .unwrap()
            .1
            .split_once("\n  fa: {")
            .unwrap();
        let persian = rest.split_once("\n};").unwrap().0;
        let keys = |part: &str| -> std::collections::BTreeSet<String> {
            let pieces = part.split([',', '{', '\n']).map(str::trim);
            pieces
                .filter_map(|piece| piece.split_once(": "))
                .map(|(key, _)| key.to_owned())
                .filter(|key| key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
                .collect()
        };
        assert!(keys(english).len() > 60);
        let (english, persian) = (keys(english), keys(persian));
        assert_eq!(
            english.symmetric_difference(&persian).collect::<Vec<_>>(),
            Vec::<&String>::new()
        );
    }
}
