//! Results pasted into a document, between marks that say what belongs there.

use std::io;
use std::path::Path;

/// Puts each text between its marks, `<!-- NAME -->` and `<!-- end NAME -->`, in place of what stands there.
///
/// # Errors
/// The file is not there, or has no such marks.
pub fn paste(file: &Path, texts: &[(String, String)]) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let mut document = std::fs::read_to_string(file).map_err(named)?;
    for (name, text) in texts {
        document = pasted(&document, name, text).ok_or_else(|| {
            let problem = format!("{}: no place is marked `{name}`", file.display());
            io::Error::new(io::ErrorKind::NotFound, problem)
        })?;
    }
    std::fs::write(file, document).map_err(named)
}

fn pasted(document: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- end {name} -->"));
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    let text = text.trim_end();
    Some(format!("{before}{begin}\n{text}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_the_marks_gives_way_and_nothing_else() {
        let document =
            "# A\n<!-- one -->\nold\n<!-- end one -->\nB\n<!-- two -->\n<!-- end two -->\n";
        let once = pasted(document, "one", "new\n\n").expect("it is marked");
        assert_eq!(
            once,
            "# A\n<!-- one -->\nnew\n<!-- end one -->\nB\n<!-- two -->\n<!-- end two -->\n"
        );
        assert_eq!(pasted(&once, "one", "new"), Some(once.clone()), "again");
        assert_eq!(pasted(document, "three", "new"), None);
    }
}
