//! `thumbnailer-worker`: the process in which images are decoded. The broker starts it.

use clap::Parser;
use lifeboat_worker::prelude::*;
use thumbnailer::hostile::Hostility;
use thumbnailer::{Thumb, Thumbnail, decode};

/// Makes thumbnails of images that nobody trusts. Started by a Lifeboat broker, through a pool's `command`.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Play a decoder that never ends on files named `*.endless`
    #[arg(long)]
    endless: bool,
    /// Play a decoder that crashes with SIGSEGV on files named `*.segv`
    #[arg(long)]
    segfault: bool,
}

fn main() -> lifeboat_worker::Result {
    let worker = Worker::new(); // first of all: it takes the broker's socket out of the environment
    let Arguments { endless, segfault } = Arguments::parse();
    worker.state(Hostility { endless, segfault }).handle_blocking::<Thumbnail>(thumbnail).run()
}

fn thumbnail(request: Thumbnail, hostility: State<Hostility>) -> Result<Thumb, HandlerError> {
    hostility.meet(&request.name);
    decode::thumbnail(&request).map_err(|refusal| HandlerError::new(refusal.code(), refusal.to_string()))
}

#[cfg(test)]
mod tests {
    use lifeboat_worker::testing::Attempt;
    use thumbnailer::{SourceFormat, samples};

    use super::*;

    #[test]
    fn an_image_becomes_a_thumbnail_and_anything_else_a_failure() {
        let run = |bytes| {
            let attempt = Attempt::<Thumbnail>::of_blocking(thumbnail);
            let attempt = attempt.state(Hostility { endless: false, segfault: false });
            attempt.run_blocking(Thumbnail { name: "a.png".to_owned(), bytes, max_side: 8 }).unwrap()
        };
        let thumb = run(samples::picture(SourceFormat::Png, 16, 12).unwrap()).reply();
        assert_eq!((thumb.width, thumb.height), (8, 6));
        assert_eq!(run(b"text".to_vec()).error().code(), "unsupported");
    }
}
