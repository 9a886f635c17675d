//! The page as a browser lays it out: nothing is cut off, nothing lies on something else, and everything is
//! large enough to be read.

use std::path::Path;
use std::process::Command;

use uwwan_figures::{Better, Figures, Kind, page};

/// Widths in pixels for which the page is laid out. No window of the browser is as narrow as the first, so
/// each is a frame in one page.
const WIDTHS: [u32; 4] = [400, 700, 800, 1200];

/// Finds faults of the layout, and adds the frame's width and them to the title.
const LOOK: &str = "<script>
const faults = [];
const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
if (document.documentElement.scrollWidth > innerWidth) faults.push('the page is wider than the window');
for (const value of document.querySelectorAll('dd'))
  if (value.clientWidth < 200) faults.push(`no room for ${value.textContent}`);
const charts = [...document.querySelectorAll('svg')].filter(svg => svg.getBoundingClientRect().width);
for (const svg of charts) {
  const chart = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll('text')].filter(text => text.textContent.trim());
  texts.forEach((text, at) => {
    const box = text.getBoundingClientRect();
    if (box.left < chart.left - 1 || box.right > chart.right + 1 || box.top < chart.top - 1 || box.bottom > chart.bottom + 1)
      faults.push(`cut off: ${text.textContent}`);
    if (parseFloat(getComputedStyle(text).fontSize) * chart.width / svg.viewBox.baseVal.width < 8)
      faults.push(`small: ${text.textContent}`);
    for (const other of texts.slice(at + 1))
      if (meet(box, other.getBoundingClientRect())) faults.push(`${text.textContent} lies on ${other.textContent}`);
  });
}
parent.document.title += `${innerWidth} pixels, ${charts.length} charts: ${faults.join('; ')}|`;
</script>";

/// Returns figures with names, values and facts of every length.
fn figures() -> Figures {
    let mut figures = Figures::new("What the page has to show");
    figures.fact("command", "uwwan bench --knob air_down_mbit=150 ".repeat(6));
    figures.fact("a name without spaces", "x".repeat(200));
    let name = "failed: a contender with a long name, and a test with another";
    figures.fact(name, "exit status 1");
    let long = "mode ncm, block-size 4096, in-flight 16, tun-mode offload";
    for (group, unit, values) in [
        ("Throughput", "Mbit/s", [757.0, 1156.0, 1101.0]),
        ("Round trip", "ms", [1.29, 0.0991, 57.0]),
        ("Small packets", "packets/s", [33_400.0, 1_234_567.0, 0.0]),
        ("Everything", "s/GiB", [0.0001, 4000.0, 12.0]),
    ] {
        for (test, names) in [
            ("short", ["a", "uwwan", "b"]),
            ("long", ["cdc_mbim-64k", long, "b"]),
        ] {
            let kind = Kind::new(group, test, unit, Better::Lower);
            for (name, value) in names.into_iter().zip(values) {
                figures.record(&kind, name, value);
                figures.record(&kind, name, value * 1.3);
            }
        }
    }
    figures
}

#[test]
fn nothing_is_cut_off_or_too_small() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("figures.html");
    let page = page::of(&figures()).replace("</html>", &format!("{LOOK}</html>"));
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    let frame = |width: u32| {
        format!(
            "<iframe style='width: {width}px; height: 900px; border: 0' srcdoc=\"{page}\"></iframe>"
        )
    };
    let frames: String = WIDTHS.into_iter().map(frame).collect();
    std::fs::write(&file, format!("<!doctype html><title></title>{frames}")).unwrap();
    // Chromium's sandbox needs a user other than root.
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!(
            "--user-data-dir={}",
            folder.join("chromium").display()
        ))
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("chromium runs (tools/setup)");
    let seen = String::from_utf8_lossy(&output.stdout);
    let title = seen.split("<title>").nth(1);
    let title = title.and_then(|rest| rest.split("</title>").next());
    let mut told: Vec<_> = title.unwrap_or_default().split_terminator('|').collect();
    // The frames are laid out in any order.
    told.sort_by_key(|one| {
        one.split(' ')
            .next()
            .and_then(|width| width.parse::<u32>().ok())
    });
    let wanted = WIDTHS.map(|width| format!("{width} pixels, 8 charts: "));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told, wanted, "{errors}");
}
