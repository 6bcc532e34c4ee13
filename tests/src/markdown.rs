//! The parts of a document that the tests check: links, anchors, code and tables.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// A document.
#[derive(Debug, Default)]
pub struct Page {
    /// The targets of its links.
    pub links: Vec<String>,
    /// Its code: spans, and whole blocks.
    pub code: Vec<String>,
    headings: Vec<String>,
    tables: Vec<Vec<Row>>,
    is_in_table: bool,
}

/// A row of a table.
pub type Row = Vec<Cell>;

/// A cell of a table.
#[derive(Debug, Default)]
pub struct Cell {
    /// All of its text.
    pub text: String,
    /// Its code spans.
    pub code: Vec<String>,
}

impl Page {
    /// Reads a document.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut block = None;
        let mut is_heading = false;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. }) => page.links.push(dest_url.into_string()),
                Event::Start(Tag::Heading { .. }) => {
                    is_heading = true;
                    page.headings.push(String::new());
                }
                Event::End(TagEnd::Heading(_)) => is_heading = false,
                Event::Start(Tag::CodeBlock(_)) => block = Some(String::new()),
                Event::End(TagEnd::CodeBlock) => page.code.extend(block.take()),
                Event::Start(Tag::Table(_)) => {
                    page.is_in_table = true;
                    page.tables.push(Vec::new());
                }
                Event::End(TagEnd::Table) => page.is_in_table = false,
                Event::Start(Tag::TableHead | Tag::TableRow) => {
                    page.tables.last_mut().expect("a table").push(Row::new());
                }
                Event::Start(Tag::TableCell) => page.row().push(Cell::default()),
                Event::Text(text) => match &mut block {
                    Some(block) => block.push_str(&text),
                    None => page.add_text(&text, is_heading),
                },
                Event::Code(code) => {
                    page.add_text(&code, is_heading);
                    if let Some(cell) = page.cell() {
                        cell.code.push(code.to_string());
                    }
                    page.code.push(code.into_string());
                }
                _ => {}
            }
        }
        page
    }

    /// Whether a heading has this anchor, by GitHub's rules.
    #[must_use]
    pub fn has_anchor(&self, anchor: &str) -> bool {
        self.headings.iter().any(|heading| slug(heading) == anchor)
    }

    /// The rows, without headers, of all tables whose first column has this title.
    #[must_use]
    pub fn rows(&self, title: &str) -> Vec<&Row> {
        let tables = self.tables.iter().filter(|table| table[0][0].text == title);
        tables.flat_map(|table| &table[1..]).collect()
    }

    fn row(&mut self) -> &mut Row {
        let table = self.tables.last_mut().expect("a table");
        table.last_mut().expect("a row")
    }

    fn cell(&mut self) -> Option<&mut Cell> {
        if !self.is_in_table {
            return None;
        }
        self.tables.last_mut()?.last_mut()?.last_mut()
    }

    fn add_text(&mut self, text: &str, is_heading: bool) {
        if is_heading {
            self.headings.last_mut().expect("a heading").push_str(text);
        } else if let Some(cell) = self.cell() {
            cell.text.push_str(text);
        }
    }
}

fn slug(heading: &str) -> String {
    let mut slug = String::new();
    for sign in heading.to_lowercase().chars() {
        match sign {
            ' ' => slug.push('-'),
            sign if sign.is_alphanumeric() || "-_".contains(sign) => slug.push(sign),
            _ => {}
        }
    }
    slug
}
