//! Plots of the figures: how throughput, latency and memory grow.

use plotters::coord::Shift;
use plotters::prelude::{
    BLACK, ChartBuilder, Circle, Color, DrawingArea, EmptyElement, IntoDrawingArea, IntoFont,
    LineSeries, Palette, Palette99, PathElement, SVGBackend, SeriesLabelPosition, WHITE,
};

const SIZE: (u32, u32) = (860, 420);

/// A line plot over a few categories.
pub(crate) struct Plot {
    pub(crate) title: String,
    /// The label of the x axis, and the names of its categories.
    pub(crate) x: (&'static str, Vec<String>),
    /// The label of the y axis, with its unit.
    pub(crate) y: &'static str,
    /// The name of each line, and its value for each category.
    pub(crate) lines: Vec<(String, Vec<f64>)>,
}

impl Plot {
    /// The plot as SVG.
    pub(crate) fn svg(&self) -> String {
        let mut text = String::new();
        {
            let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
            self.draw(&area).expect("drawing in memory succeeds");
            area.present().expect("drawing in memory succeeds");
        }
        text.push('\n');
        text
    }

    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        area.fill(&WHITE)?;
        let (unit, categories) = &self.x;
        let all = self.lines.iter().flat_map(|(_, values)| values);
        // The legend of several lines needs room above them.
        let room = if self.lines.len() > 1 { 1.5 } else { 1.1 };
        let top = all.copied().fold(0.0, f64::max) * room;
        let right = categories.len() as f64 - 0.8;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 18).into_font())
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(-0.2..right, 0.0..top)?;
        let name = |at: &f64| {
            let nearest = at.round();
            let is_category = (at - nearest).abs() < 0.01 && nearest >= 0.0;
            let name = is_category
                .then(|| categories.get(nearest as usize))
                .flatten();
            name.cloned().unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(categories.len())
            .x_label_formatter(&name)
            .x_desc(*unit)
            .y_desc(self.y)
            .label_style(("sans-serif", 14))
            .draw()?;
        for (at, (name, values)) in self.lines.iter().enumerate() {
            let colour = Palette99::pick(at).to_rgba();
            let points = values.iter().enumerate().map(|(x, y)| (x as f64, *y));
            let line = LineSeries::new(points.clone(), colour.stroke_width(2));
            chart.draw_series(line)?.label(name).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
            });
            chart.draw_series(
                points.map(|at| EmptyElement::at(at) + Circle::new((0, 0), 3, colour.filled())),
            )?;
        }
        if self.lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.8))
                .border_style(BLACK.mix(0.2))
                .label_font(("sans-serif", 13))
                .draw()?;
        }
        Ok(())
    }
}
