//! What the page shows.

use serde_json::{Map, Value};

use crate::browser::{Browser, SOON, until};

/// Reads all rows that are shown, and the time by the browser's clock.
const LOOK: &str = r#"
  const row = (body) => ({
    name: body.querySelector("th button").textContent,
    state: body.querySelector(".state-cell .level").textContent,
    cells: Object.fromEntries(
      [...body.querySelectorAll("td[data-label]")].map((cell) => [cell.dataset.label, cell.textContent.trim()])),
  });
  const bodies = [...document.querySelectorAll("table.endpoints tbody")].filter((body) => body.offsetHeight > 0);
  return { now: Date.now(), rows: bodies.map(row) };
"#;

/// One look at the table of endpoints.
#[derive(Debug)]
pub struct Look {
    /// In milliseconds since 1970.
    pub now: u64,
    pub rows: Vec<Row>,
}

/// What is shown of one endpoint.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub state: String,
    /// By the heads of their columns.
    cells: Map<String, Value>,
}

impl Look {
    pub async fn at(browser: &Browser) -> Self {
        let look = browser.run(LOOK).await;
        let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
        let row = |row: &Value| Row {
            name: text(row, "name"),
            state: text(row, "state"),
            cells: row["cells"].as_object().unwrap().clone(),
        };
        Self {
            now: look["now"].as_u64().unwrap(),
            rows: look["rows"].as_array().unwrap().iter().map(row).collect(),
        }
    }

    /// The row of an endpoint.
    pub fn row(&self, name: &str) -> &Row {
        let found = self.rows.iter().find(|row| row.name == name);
        found.unwrap_or_else(|| panic!("no {name} in {:?}", self.rows))
    }
}

impl Row {
    pub fn cell(&self, column: &str) -> &str {
        self.cells[column].as_str().unwrap()
    }

    /// Whether the endpoint takes requests, and gets some.
    pub fn is_busy(&self) -> bool {
        let rate = self.cell("Requests/s").parse::<f64>();
        self.state == "usable" && rate.is_ok_and(|rate| rate > 0.0)
    }
}

/// Waits until so many endpoints are shown, all of them busy.
pub async fn all_busy(browser: &Browser, number: usize) {
    until("all endpoints are busy", SOON, || async {
        let rows = Look::at(browser).await.rows;
        let fine = rows.len() == number && rows.iter().all(Row::is_busy);
        fine.then_some(()).ok_or(format!("{rows:?}"))
    })
    .await;
}

/// Waits until an endpoint is in a state, and returns what is shown then.
pub async fn in_state(browser: &Browser, name: &str, state: &str) -> Look {
    until(&format!("{name} is {state}"), SOON, || async {
        let look = Look::at(browser).await;
        match look.row(name).state == state {
            true => Ok(look),
            false => Err(format!("{:?}", look.rows)),
        }
    })
    .await
}

/// Waits until an element of this selector has a text, and returns its whole text.
pub async fn says(browser: &Browser, selector: &str, text: &str) -> String {
    until(&format!("{selector} says {text}"), SOON, || async {
        let said = browser.text(selector).await;
        match said.contains(text) {
            true => Ok(said),
            false => Err(said),
        }
    })
    .await
}
