package io.kvasir.transport;

import org.agrona.concurrent.Agent;

/**
 * One node's links to its peers. An agent: one thread calls {@link #doWork()} and then {@link #onClose()}; the other
 * methods may be called from any thread.
 */
public final class PeerLink implements Agent {
    private PeerLink() {}

    /** Starts the media driver and listens. */
    public static PeerLink open(final LinkContext context) {
        context.conclude();
        return new PeerLink();
    }

    /** Starts to pull; null when the command queue is full. The listener hears each object's end. */
    public Transfer pull(final PullRequest request) {
        throw new UnsupportedOperationException();
    }

    /** Starts to push; null when the command queue is full. The listener hears each object's end. */
    public Transfer push(final PushRequest request) {
        throw new UnsupportedOperationException();
    }

    @Override
    public int doWork() {
        return 0;
    }

    /** Ends all transfers, gives back what is reserved and held, and stops the media driver. */
    @Override
    public void onClose() {}

    @Override
    public String roleName() {
        return "kvasir-link";
    }
}
