//! What can be proven of a Mixpanel project.

use super::project::ServiceAccount;
use super::{IMPORT, Mixpanel, answers, mapping};
use crate::engine::{Check, Mapped, Sink, Step, StepState, Verdict};
use crate::vendors::steps;
use bytes::Bytes;
use pipeline::Micros;
use pipeline::egress::{ANSWER_BYTES_MAX, Answer, Http, HttpError, Request, TIMEOUT};
use pipeline::event::{Event, Kind};
use pipeline::log::{PartitionId, Stored};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use url::Url;

const REACHABLE: &str = "reachable";
const AUTHENTICATED: &str = "authenticated";
const OBJECT_EXISTS: &str = "object_exists";
const SAMPLE_EVENT: &str = "sample_event";

impl Mixpanel {
    /// Asks who the service account is and whether it knows the project. A token alone is proven by
    /// nothing but an event that Mixpanel takes.
    pub(super) async fn prove(&self, http: &dyn Http, now: Micros, sample: bool) -> Check {
        let mut steps = match self.project.service_account() {
            Some(account) => self.prove_account(http, account, now).await,
            None => Vec::new(),
        };
        if steps.last().is_some_and(|step| step.state == StepState::Failed) {
            return Check { steps };
        }
        if sample {
            self.send_sample(http, now, &mut steps).await;
            return Check { steps };
        }
        if steps.is_empty() {
            steps.push(steps::unprovable(
                AUTHENTICATED,
                "the project token has the right form; Mixpanel tells no more without an event",
                "Send a sample event, or add a service account.",
            ));
        }
        steps.push(steps::skipped(SAMPLE_EVENT, "no event was sent"));
        Check { steps }
    }

    async fn prove_account(&self, http: &dyn Http, account: &ServiceAccount, now: Micros) -> Vec<Step> {
        let host = self.project.region.app_host();
        let answer = match self.who_am_i(http).await {
            Ok(answer) => answer,
            Err(error) => return vec![steps::unreachable(host, &error)],
        };
        let reachable = steps::passed(REACHABLE, host);
        let authenticated = match answer.status {
            200 => steps::passed(AUTHENTICATED, "Mixpanel knows the service account"),
            401 | 403 | 404 => steps::failed(
                AUTHENTICATED,
                answers::failure(&self.project, &answer, now).detail,
                "Check the service account's user name, its secret and end date, and `region`.",
            ),
            _ => steps::failed(
                AUTHENTICATED,
                answers::failure(&self.project, &answer, now).detail,
                "Try again in a few minutes.",
            ),
        };
        if authenticated.state == StepState::Failed {
            return vec![reachable, authenticated];
        }
        vec![reachable, authenticated, project_step(&answer, account)]
    }

    async fn who_am_i(&self, http: &dyn Http) -> Result<Answer, HttpError> {
        let url = format!("https://{}/api/app/me", self.project.region.app_host());
        let url = Url::parse(&url).expect("a constant address is an address");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, self.project.authorization().clone())]);
        http.send(Request { method: Method::GET, url, headers, body: Bytes::new(), timeout: TIMEOUT }).await
    }

    /// Sends an event, which also proves a token by which no account could be asked for.
    async fn send_sample(&self, http: &dyn Http, now: Micros, steps: &mut Vec<Step>) {
        let Mapped::Operations(operations) = mapping::map(&sample_event(now), &self.project) else {
            return steps.push(steps::failed(
                SAMPLE_EVENT,
                "no event could be made",
                "Report this as a defect.",
            ));
        };
        let operations: Vec<_> = operations.iter().filter(|operation| operation.endpoint == IMPORT).collect();
        let answer = match http.send(self.request(&operations, now)).await {
            Ok(answer) => answer,
            Err(error) => {
                return steps.push(steps::unreachable(self.project.region.ingestion_host(), &error));
            }
        };
        let is_first = steps.is_empty();
        if is_first {
            steps.push(steps::passed(REACHABLE, self.project.region.ingestion_host()));
        }
        let verdict = self.verdicts(&operations, &answer, now).pop();
        if let Some(Verdict::Failed(failure)) = verdict {
            let is_about_key = matches!(answer.status, 401 | 403);
            let name = if is_first && is_about_key { AUTHENTICATED } else { SAMPLE_EVENT };
            let remedy =
                if failure.remedy.is_empty() { "Try again in a few minutes." } else { &failure.remedy };
            return steps.push(steps::failed(name, failure.detail.clone(), remedy));
        }
        if is_first {
            steps.push(steps::passed(AUTHENTICATED, "Mixpanel took an event with the project token"));
        }
        steps.push(steps::passed(SAMPLE_EVENT, "Mixpanel stored `Flowstate Connection Tested`, see Events"));
    }
}

/// Whether the account's own description names the project.
fn project_step(answer: &Answer, account: &ServiceAccount) -> Step {
    let id = &account.project_id;
    let text = String::from_utf8_lossy(&answer.body);
    let mut numbers = text.split(|c: char| !c.is_ascii_digit());
    if numbers.any(|number| number == id) {
        return steps::passed(OBJECT_EXISTS, format!("the service account knows project {id}"));
    }
    if answer.body.len() >= ANSWER_BYTES_MAX {
        return steps::unprovable(
            OBJECT_EXISTS,
            format!("the service account knows too many projects to find {id} among them"),
            "Send a sample event.",
        );
    }
    steps::failed(
        OBJECT_EXISTS,
        format!("the service account does not know project {id}"),
        "Check `project_id`, and give the service account the role Owner or Admin in the project.",
    )
}

fn sample_event(now: Micros) -> Stored<Event<'static>> {
    let mut event = Event::new(Kind::Track, format!("flowstate-test-{now}"));
    event.anonymous_id = Some("flowstate-connection-test".into());
    event.event = Some("Flowstate Connection Tested".into());
    let (partition, source) = (PartitionId("check".into()), "flowstate".into());
    Stored { partition, offset: 0, received_at: now, source, test: true, record: event }
}
