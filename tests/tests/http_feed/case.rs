//! Readers that pull: each case on every database.

use super::*;

pub(super) async fn what_is_pulled_is_applied_once_and_in_order<DB: Kit>(urls: [String; 2]) {
    let (pool, target) = (prepared::<DB>(&urls[0]).await, prepared::<DB>(&urls[1]).await);
    let mut source = Source::start(pool, "127.0.0.1:0", 4).await;
    write(&source.pool, 30).await;
    let consumer = Arc::new(noting("near", target.clone()).build().expect("a consumer"));
    let stop = CancellationToken::new();
    let mut pulling = Vec::new();
    // Two processes of one consumer pull every shard.
    for shard in (0..4).chain(0..4) {
        let subscriber = Box::new(source.pull(shard, TOKEN));
        pulling.push(tokio::spawn(subscriber.run(consumer.clone(), stop.clone())));
    }
    write(&source.pool, 60).await;
    check(&source.pool, &target, &["near"]).await;
    // The source's service is away for a while, and comes back at the same address.
    let (pool, address) = source.stop().await;
    write(&pool, 24).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    source = Source::start(pool, &address.to_string(), 4).await;
    write(&source.pool, 24).await;
    check(&source.pool, &target, &["near"]).await;
    stop.cancel();
    for pulling in pulling {
        pulling.await.expect("no panic").expect("it ends well");
    }
    source.stop().await;
}

pub(super) async fn a_reader_sent_back_before_a_new_version_gets_both<DB: Kit>(urls: [String; 2]) {
    let (pool, target) = (prepared::<DB>(&urls[0]).await, prepared::<DB>(&urls[1]).await);
    let mut source = Source::start(pool, "127.0.0.1:0", 1).await;
    let consumer = Arc::new(noting("near", target.clone()).build().expect("a consumer"));
    let stop = CancellationToken::new();
    let mut pulling = Vec::new();
    let applied = async || DB::applied(&target).await.expect("applied").len();
    let arrived = async |count: usize| {
        eventually("it is applied", async || (applied().await >= count).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(applied().await, count);
    };
    for shards in 1..=2 {
        if shards == 2 {
            let (pool, address) = source.stop().await;
            source = Source::start(pool, &address.to_string(), 2).await;
        }
        // The second one has no shard in the first version.
        let subscriber = Box::new(source.pull(shards - 1, TOKEN));
        pulling.push(tokio::spawn(subscriber.run(consumer.clone(), stop.clone())));
        write(&source.pool, 12).await;
        check(&source.pool, &target, &["near"]).await;
    }
    let before = applied().await;
    let [consumer, from, stream] = ["near", "/tests", "counts"].map(str::to_owned);
    let again = Reapply {
        consumer,
        source: from,
        stream,
        shard: None,
        to: Position(5),
        except_commands: false,
    };
    let moved = reapply(&target, &again).await.expect("it goes back");
    assert!(moved.iter().any(|inbox| inbox.origin.version == 1));
    write(&source.pool, 12).await;
    // Each message of the log after the fifth once more, of both versions.
    arrived(before * 2 - 5 + 12).await;
    stop.cancel();
    for pulling in pulling {
        pulling.await.expect("no panic").expect("it ends well");
    }
    source.stop().await;
}

pub(super) async fn a_reader_sees_what_its_token_may_read<DB: Kit>(urls: [String; 2]) {
    let (pool, target) = (prepared::<DB>(&urls[0]).await, prepared::<DB>(&urls[1]).await);
    let source = Source::start(pool, "127.0.0.1:0", 1).await;
    write(&source.pool, 3).await;
    secret(&source.pool).await;
    secret(&source.pool).await;
    write(&source.pool, 2).await;
    sealed(&source, 7).await;

    for (token, status) in [("", 401), ("synf_unknown-unknown-unknown-12", 401)] {
        assert_eq!(source.get(token, "counts/0").await.status(), status);
    }
    let unknown = source.get(TOKEN, "other/0").await.status();
    assert!([StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&unknown), "{unknown}");
    assert_eq!(source.get(TOKEN, "counts/9").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(source.get(TOKEN, "counts/0?after=x").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(source.get(TOKEN, "counts/0?none=1").await.status(), StatusCode::BAD_REQUEST);

    let all = source.page(TOKEN, "counts/0").await;
    assert_eq!(all.messages.len(), 7);
    let answer = source.get(NARROW, "counts/0").await.text().await.expect("a body");
    assert!(!answer.contains("hush") && !answer.contains("secret.told"), "{answer}");
    let narrow = decode_batch(answer.as_bytes()).expect("a batch");
    assert_eq!((narrow.messages.len(), narrow.last), (6, all.last), "two links are one");
    let links: Vec<_> = narrow.messages.windows(2).map(|two| two[1].prev).collect();
    assert_eq!(links, narrow.messages[..5].iter().map(|m| m.link()).collect::<Vec<_>>());

    // A consumer that may not read all of it applies the rest.
    let consumer = noting("near", target.clone()).build().expect("a consumer");
    let stop = CancellationToken::new();
    let subscriber = Box::new(source.pull(0, NARROW));
    let pulling = tokio::spawn(subscriber.run(Arc::new(consumer), stop.clone()));
    check(&source.pool, &target, &["near"]).await;
    stop.cancel();
    pulling.await.expect("no panic").expect("it ends well");
    source.stop().await;
}

pub(super) async fn a_full_page_can_be_kept_and_news_come_at_once<DB: Kit>(urls: [String; 2]) {
    let source = Source::start(prepared::<DB>(&urls[0]).await, "127.0.0.1:0", 1).await;
    write(&source.pool, 5).await;
    sealed(&source, 5).await;
    let full = source.get(TOKEN, "counts/0?messages=3").await;
    let header = |answer: &Response, name: &str| {
        answer.headers().get(name).map(|value| value.to_str().expect("text").to_owned())
    };
    let tag = header(&full, "etag").expect("a tag");
    assert!(header(&full, "cache-control").is_some_and(|kept| kept.contains("private")));
    let body = full.bytes().await.expect("a body");
    let tail = source.get(TOKEN, "counts/0").await;
    assert_eq!(header(&tail, "cache-control").as_deref(), Some("no-store"));
    write(&source.pool, 5).await;
    sealed(&source, 10).await;
    let again = source.get(TOKEN, "counts/0?messages=3").await.bytes().await.expect("a body");
    assert_eq!(body, again, "it can no longer change");
    let url = format!("http://{}/feed/counts/0?messages=3", source.address);
    let kept = reqwest::Client::new().get(url).bearer_auth(TOKEN);
    let kept = kept.header("if-none-match", tag).send().await.expect("an answer");
    assert_eq!(kept.status(), StatusCode::NOT_MODIFIED);

    let last = source.page(TOKEN, "counts/0").await.last;
    let place = format!("after=10&last={}&lastid={}", last.position, last.id);
    let waiting = async {
        let page = source.page(TOKEN, &format!("counts/0?{place}&wait=20")).await;
        (page, tokio::time::Instant::now())
    };
    let writing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        write(&source.pool, 1).await;
        tokio::time::Instant::now()
    };
    let ((page, came), wrote) = tokio::join!(waiting, writing);
    assert_eq!(page.messages.len(), 1);
    assert!(came.saturating_duration_since(wrote) < Duration::from_secs(10), "it did not wait");
    source.stop().await;
}

pub(super) async fn an_erased_message_is_a_link_in_pages_that_were_served_before<DB: Kit>(
    urls: [String; 2],
) {
    let source = Source::start(prepared::<DB>(&urls[0]).await, "127.0.0.1:0", 1).await;
    write(&source.pool, 1).await;
    secret(&source.pool).await;
    write(&source.pool, 2).await;
    sealed(&source, 4).await;
    const FULL: &str = "counts/0?messages=4";
    let full = eventually("a full page", async || {
        let page = source.get(TOKEN, FULL).await;
        page.headers().contains_key("etag").then_some(page)
    })
    .await;
    let header = |name: &str| full.headers()[name].to_str().expect("text").to_owned();
    let (tag, kept) = (header("etag"), header("cache-control"));
    // A cache asks again after an hour at the latest.
    assert_eq!(kept, "private, max-age=3600");
    let text = full.text().await.expect("a body");
    assert!(text.contains("hush") && text.contains("secret.told"), "{text}");
    let before = decode_batch(text.as_bytes()).expect("a batch");

    let mut tx = begin(&source.pool).await.expect("begin");
    let erased = Erase::new().key("key 0").run(&mut tx).await.expect("erase");
    tx.commit().await.expect("commit");
    assert_eq!(erased.messages, 3, "its two counts and the secret");

    let url = format!("http://{}/feed/{FULL}", source.address);
    let again = reqwest::Client::new().get(url).bearer_auth(TOKEN);
    let again = again.header("if-none-match", tag).send().await.expect("an answer");
    assert_eq!(again.status(), StatusCode::OK, "it is another page now");
    let text = again.text().await.expect("a body");
    assert!(!text.contains("hush") && !text.contains("secret.told"), "{text}");
    let after = decode_batch(text.as_bytes()).expect("a batch");
    assert_eq!((after.through, after.last), (before.through, before.last));
    // Links in a row are one, and what follows still names the message before it.
    let [link, last] = &after.messages[..] else { panic!("{after:?}") };
    assert_eq!((&*link.topic, link.link()), (LINK, before.messages[2].link()));
    assert_eq!((last.link(), last.prev), (before.messages[3].link(), link.link()));
    source.stop().await;
}

pub(super) async fn a_reader_that_comes_too_late_is_told_so<DB: Kit>(urls: [String; 2]) {
    let (pool, target) = (prepared::<DB>(&urls[0]).await, prepared::<DB>(&urls[1]).await);
    let source = Source::start(pool, "127.0.0.1:0", 1).await;
    write(&source.pool, 6).await;
    sealed(&source, 6).await;
    let last = eventually("the feed has it all", async || {
        let last = source.page(TOKEN, "counts/0").await.last;
        (last.position == Position(6)).then_some(last)
    })
    .await;
    let mut nothing = Retention::default();
    nothing.keep_for = Duration::ZERO;
    trim(&source.pool, &nothing, false).await.expect("trim");
    write(&source.pool, 3).await;
    sealed(&source, 9).await;

    // One that has everything up to there goes on; the message before is named though it is gone.
    let place = format!("counts/0?after=6&last=6&lastid={}", last.id);
    let page = eventually("what came since", async || {
        let page = source.page(TOKEN, &place).await;
        (page.messages.len() == 3).then_some(page)
    })
    .await;
    assert_eq!(page.messages[0].prev, last);
    for late in ["counts/0", "counts/0?after=4"] {
        let answer = source.get(TOKEN, late).await;
        assert_eq!(answer.status(), StatusCode::GONE, "{late}");
        let text = answer.text().await.expect("a body");
        assert!(text.contains(TRIMMED) && text.contains("after position 6"), "{text}");
        let skip = "syncline inbox skip CONSUMER --source /tests --stream counts --shard 0 --to 6 \
                    --log-ends 6";
        assert!(text.contains(skip) && !text.contains("ROUTE"), "{text}");
    }
    let consumer = noting("late", target.clone()).build().expect("a consumer");
    let stop = CancellationToken::new();
    let subscriber = Box::new(source.pull(0, TOKEN));
    let status = subscriber.status();
    let pulling = tokio::spawn(subscriber.run(Arc::new(consumer), stop.clone()));
    eventually("it says so", async || {
        matches!(status.state(), PullState::Trimmed { .. }).then_some(())
    })
    .await;
    assert_eq!(DB::applied(&target).await.expect("applied").len(), 0, "nothing is skipped");
    stop.cancel();
    pulling.await.expect("no panic").expect("it ends well");
    source.stop().await;
}

pub(super) async fn a_place_that_is_not_in_the_log_is_refused<DB: Kit>(urls: [String; 2]) {
    let (pool, target) = (prepared::<DB>(&urls[0]).await, prepared::<DB>(&urls[1]).await);
    let source = Source::start(pool, "127.0.0.1:0", 1).await;
    write(&source.pool, 5).await;
    sealed(&source, 5).await;
    let last = source.page(TOKEN, "counts/0").await.last;
    let problem = async |what: &str, status: u16| {
        let answer = source.get(TOKEN, what).await;
        assert_eq!(answer.status(), status, "{what}");
        answer.text().await.expect("a body")
    };
    let far = format!("counts/0?after=900&last=5&lastid={}", last.id);
    assert!(problem(&far, 409).await.contains(DIVERGED));
    let other = "counts/0?after=5&last=5&lastid=0199c0de-0000-7000-8000-000000000001";
    assert!(problem(other, 409).await.contains(DIVERGED));
    // The reader was told that nothing is between 1 and 4; this log holds something there.
    let first = source.page(TOKEN, "counts/0?messages=1").await.last;
    let hole = format!("counts/0?after=4&last=1&lastid={}", first.id);
    assert!(problem(&hole, 409).await.contains(DIVERGED));
    assert!(!problem(&far, 409).await.contains(CLOSED));

    // A new incarnation says from where it goes on.
    let consumer = noting("near", target.clone()).build().expect("a consumer");
    let stop = CancellationToken::new();
    let subscriber = Box::new(source.pull(0, TOKEN));
    let status = subscriber.status();
    let pulling = tokio::spawn(subscriber.run(Arc::new(consumer), stop.clone()));
    check(&source.pool, &target, &["near"]).await;
    Rebase::new(Agreed::Head).run(&source.pool).await.expect("rebase");
    write(&source.pool, 12).await;
    check(&source.pool, &target, &["near"]).await;
    stop.cancel();
    pulling.await.expect("no panic").expect("it ends well");
    assert_eq!(status.state(), PullState::Stopped);
    source.stop().await;
}
