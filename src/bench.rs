//! `flowstate bench`: measurements.

/// `flowstate bench ingest`.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArgs {}

pub(crate) async fn run(args: BenchArgs) -> anyhow::Result<()> {
    let BenchArgs {} = args;
    anyhow::bail!("this build has no bench")
}
