//! The S3 test server by itself, for benchmarks and for trying things by hand: objects are in memory, and
//! gone when it ends.

use s3::{ACCESS_KEY, BUCKET, REGION, SECRET_KEY, Server};
use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let server = Server::start()?;
    let mut out = std::io::stdout();
    writeln!(out, "export AWS_ENDPOINT_URL={} AWS_REGION={REGION}", server.endpoint())?;
    writeln!(out, "export AWS_ACCESS_KEY_ID={ACCESS_KEY} AWS_SECRET_ACCESS_KEY={SECRET_KEY}")?;
    writeln!(out, "# --store s3://{BUCKET}/PREFIX; Enter or the end of standard input ends it")?;
    out.flush()?;
    std::io::stdin().read(&mut [0]).map(drop)
}
