package io.kvasir.transport;

/** A push that was asked for. Owned by {@link Sender}. */
final class Push {
    final PushRequest request;

    Push(final PushRequest request) {
        this.request = request;
    }
}
