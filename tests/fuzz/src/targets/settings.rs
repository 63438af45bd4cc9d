//! Configuration files as somebody's editor leaves them.

use anyhow::Result;
use rand::Rng as _;
use rand::rngs::StdRng;
use taraz_fleet::Fleet;
use taraz_settings::{Document, Section};

use crate::harness::Target;
use crate::mutate::mutate;

/// What stands for every secret, so that it is found in a message.
const SECRET: &str = "5ecret-5ecret-5ecret-5ecret";
const GATEWAY: &[Section] = &[Section {
    head: "",
    keys: taraz_gateway::KEYS,
}];

/// Fuzzes `Fleet::parse` and the configurations of gateway and ingest; the first byte says which.
pub(crate) struct Files {
    texts: [String; 3],
}

impl Files {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (_, fleet) = super::rig::fleet(folder.path(), 2)?;
        let gateway = format!(
            "{}\n[ingest]\nurl = \"http://127.0.0.1:8080\"\ntoken = \"{SECRET}\"\n",
            taraz_gateway::EXAMPLE
        );
        let ingest = format!(
            "data = \"data\"\nlisten = \"127.0.0.1:8080\"\ntoken = \"{SECRET}\"\n[store]\nseal_after_days = 2\nkeep_readings_days = 400\n"
        );
        Ok(Self {
            texts: [fleet, gateway, ingest],
        })
    }
}

impl Target for Files {
    fn generate(&mut self, random: &mut StdRng) -> Vec<u8> {
        let which = random.random_range(0..3_u8);
        [&[which], self.texts[usize::from(which)].as_bytes()].concat()
    }

    fn damage(&mut self, input: &mut Vec<u8>, random: &mut StdRng) {
        let mut lines: Vec<Vec<u8>> = input.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        let (at, to) = (
            random.random_range(0..lines.len()),
            random.random_range(0..lines.len()),
        );
        match random.random_range(0..6) {
            0 => lines.swap(at, to),
            1 => lines.insert(to, lines[at].clone()),
            2 if lines.len() > 1 => drop(lines.remove(at)),
            3 => replace_value(&mut lines[at], random),
            _ => return mutate(input, random),
        }
        *input = lines.join(&b'\n');
    }

    fn execute(&mut self, input: &[u8]) -> Result<String, String> {
        let Some((&which, text)) = input.split_first() else {
            return Ok("empty".to_owned());
        };
        let text = String::from_utf8_lossy(text);
        let read = match which % 3 {
            0 => Fleet::parse(&text).map(drop),
            1 => Document::parse("gateway.toml", &text, GATEWAY).and_then(|document| {
                let config: taraz_gateway::Config = document.read()?;
                config.check().map_err(|wrong| document.mistake(wrong))
            }),
            _ => taraz_ingest::Config::parse("ingest.toml", &text).map(drop),
        };
        let file = ["fleet", "gateway", "ingest"][usize::from(which % 3)];
        let Err(mistake) = read else {
            return Ok(format!("{file}: good"));
        };
        let message = mistake.to_string();
        let lines = text.lines().count().max(1);
        if mistake.line == 0 || mistake.line > lines + 1 {
            return Err(format!("line {} of {lines}: {message}", mistake.line));
        }
        let is_its_line =
            text.contains(&format!("token = \"{SECRET}\"\n")) && text.matches(SECRET).count() == 1;
        if is_its_line && message.contains(SECRET) {
            return Err(format!("a secret in a message: {message}"));
        }
        Ok(format!("{file}: a mistake"))
    }
}

/// Another value behind the equals sign.
fn replace_value(line: &mut Vec<u8>, random: &mut StdRng) {
    const VALUES: [&str; 16] = [
        "0",
        "-1",
        "1e309",
        "nan",
        "inf",
        "9223372036854775807",
        "9223372036854775808",
        "\"\"",
        "\"x\"",
        "[]",
        "{}",
        "true",
        "1979-05-27T07:32:00Z",
        "[[1]]",
        "-0.0",
        "0x7fffffff",
    ];
    if let Some(at) = line.iter().position(|&byte| byte == b'=') {
        line.truncate(at + 1);
        line.extend_from_slice(VALUES[random.random_range(0..VALUES.len())].as_bytes());
    }
}
