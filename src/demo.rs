//! `flowstate demo`: try it out with made-up events.

/// `flowstate demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {}

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let DemoArgs {} = args;
    anyhow::bail!("this build has no demo")
}
