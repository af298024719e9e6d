//! `flowstate import`: events from files, through the running server or straight into the log.

mod content;
mod intake;
mod progress;
mod record;
mod summary;
mod target;

pub(crate) use intake::Intake;

use crate::cli::ImportArgs;
use crate::output::print;
use anyhow::{Context, bail};
use console::Imported;
use content::{Content, Lines, OpenError, Skip};
use progress::Progress;
use record::Record;
use std::path::{Path, PathBuf};
use target::Target;

pub(crate) async fn run(args: ImportArgs) -> anyhow::Result<()> {
    let settings = args.flags.settings()?;
    crate::telemetry::start(&settings);
    for file in &args.files {
        // What can be told before anything is sent is told before anything is sent.
        if !content::is_standard_input(file) {
            let data =
                std::fs::metadata(file).with_context(|| format!("`{}` cannot be read", file.display()))?;
            if data.is_dir() {
                bail!("`{}` is a directory: name its files", file.display());
            }
        }
    }
    let target = Target::open(&settings, &args.source).await?;
    let import = Import { data: settings.data.clone(), args: &args, target: &target };
    let outcome = import.all().await;
    let closed = target.close().await;
    outcome?;
    closed
}

struct Import<'a> {
    data: PathBuf,
    args: &'a ImportArgs,
    target: &'a Target,
}

impl Import<'_> {
    async fn all(&self) -> anyhow::Result<()> {
        let mut progress = Progress::start(&self.args.files);
        let (mut total, mut before) = (Imported::default(), 0);
        for file in &self.args.files {
            let name = content::shown(file);
            progress.file(&name);
            let (imported, earlier) = self.one(file, &mut progress).await.with_context(|| {
                format!("the import of `{name}` stopped; what was sent is stored, and the same command goes on from there")
            })?;
            progress.say(|| print(summary::of_file(&name, &imported, earlier)))?;
            total.add(imported);
            before += earlier;
        }
        progress.end();
        if self.args.files.len() > 1 {
            print(summary::of_all(self.args.files.len(), &total, before))?;
        }
        Ok(())
    }

    /// Imports one file; says what became of the lines it sent, and how many an earlier run had sent.
    async fn one(&self, file: &Path, progress: &mut Progress) -> anyhow::Result<(Imported, u64)> {
        let content = Content::open(file, progress.bytes())?;
        let key = content.key().to_owned();
        let known = Record::load(&self.data, &self.args.source, &key)?.filter(|_| !self.args.again);
        let mut record = known.unwrap_or_else(|| Record::new(&self.args.source, &key, &content::shown(file)));
        let mut lines = match content.lines(record.skip()) {
            Ok(lines) => lines,
            Err(OpenError::Differs) if content::is_standard_input(file) => bail!(
                "standard input begins as an earlier import did but goes on differently: import it with --again"
            ),
            // It only begins like a file that was imported before.
            Err(OpenError::Differs) => {
                record = Record::new(&self.args.source, &key, &content::shown(file));
                Content::open(file, progress.bytes())?
                    .lines(Skip::default())
                    .map_err(OpenError::into_error)?
            }
            Err(error) => return Err(error.into_error()),
        };
        let before = record.lines;
        let imported = self.send(&mut lines, &mut record, progress).await;
        // What was acknowledged is kept in mind, however it ended.
        record.save(&self.data)?;
        Ok((imported?, before))
    }

    async fn send(
        &self,
        lines: &mut Lines,
        record: &mut Record,
        progress: &mut Progress,
    ) -> anyhow::Result<Imported> {
        let mut imported = Imported::default();
        while let Some(piece) = lines.next().await? {
            let answer = self.target.send(&self.args.source, &record.file, self.args.deliver, &piece).await?;
            progress.add(answer.lines());
            imported.add(answer);
            record.reached(&piece);
            record.save_now_and_then(&self.data)?;
        }
        Ok(imported)
    }
}
