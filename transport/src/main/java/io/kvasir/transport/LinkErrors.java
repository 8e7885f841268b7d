package io.kvasir.transport;

/** Hears what an operator should know. Called on the link's thread; must not block. */
public interface LinkErrors {
    /** A peer was refused or lost, a stranger knocked, the driver reported an error. The message names the peer. */
    void onError(String message);

    /** Nothing listens. */
    LinkErrors NONE = message -> {};
}
