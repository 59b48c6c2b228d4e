//! The fabric over real brokers on loopback: the embedded one, and Mosquitto where its binary is on the path.

mod broker;
mod embedded;
mod measure;
mod p2p;
mod peer;
mod scenarios;

use broker::{Kind, TestBroker};

/// Each scenario once per broker.
macro_rules! on_each_broker {
    ($($scenario:ident),+ $(,)?) => {
        mod on_embedded {
            $(#[tokio::test]
            async fn $scenario() {
                let broker = super::TestBroker::start(super::Kind::Embedded).await.expect("it is in the process");
                super::scenarios::$scenario(broker).await;
            })+
        }

        mod on_mosquitto {
            $(#[tokio::test]
            async fn $scenario() {
                if let Some(broker) = super::TestBroker::start(super::Kind::Mosquitto).await {
                    super::scenarios::$scenario(broker).await;
                }
            })+
        }
    };
}

on_each_broker!(
    messages_arrive_once_and_in_order,
    what_is_retained_waits_for_those_who_come_later,
    the_will_speaks_for_those_who_vanish_and_not_for_those_who_leave,
    a_restarted_broker_costs_nothing_that_was_queued,
    what_was_not_acknowledged_comes_again,
    acknowledgements_may_be_given_in_any_order,
    the_largest_envelope_passes_and_a_larger_one_is_named,
    topics_of_others_are_named_and_disturb_nothing,
    old_and_new_protocol_understand_each_other,
    a_full_queue_makes_the_publisher_wait,
    an_offer_never_waits_and_what_may_be_lost_goes_first,
);
