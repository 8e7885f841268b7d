package io.kvasir.node.hostile;

import java.io.IOException;

/** What a hostile engine does in each of the ways that were found to matter. */
public enum Strategy {
    WIDE_LOOKUP(WideCalls::lookup),
    WIDE_WINDOW(WideCalls::window),
    WIDE_RESERVE(WideCalls::reserve),
    IMPOSSIBLE_RESERVE(WideCalls::impossibleReserve),
    RENEW_AND_RELEASE(WideCalls::renewAndRelease),
    WIDE_NAMESPACE(WideCalls::namespace),
    PIN_FLOOD(WideCalls::pins),
    SCORES(WideCalls::scores),
    SESSIONS_OF_MANY_SHARDS(WideCalls::sessions),
    HELD_LOOKUPS(HeldCalls::lookups),
    CANCEL_STORM(HeldCalls::cancels),
    HELD_EVENTS(HeldCalls::events),
    LEASES_NEVER_RELEASED(HeldCalls::leases),
    RESERVATIONS_NEVER_COMMITTED(HeldCalls::reservations),
    LOCK_DROPPED(HeldCalls::lockDropped),
    FORGED_RECORDS(Forgeries::records),
    QUIESCED_OF_OTHERS(Forgeries::quiesced),
    SESSIONS_GUESSED(Forgeries::sessions),
    HALF_FRAMES(Frames::half),
    SLOW_BYTES(Frames::slow),
    ODD_LENGTHS(Frames::lengths),
    LONG_VARINTS(Frames::varints),
    NESTED_GROUPS(Frames::groups),
    MUTATED_FRAMES(Frames::mutated),
    DUPLICATE_IDS(Frames::duplicateIds),
    NEVER_READING(Connections::neverReading),
    HELLO_FLOOD(Connections::hellos),
    MANY_CONNECTIONS(Connections::many),
    COMES_AND_GOES(Connections::comeAndGo),
    TRUNCATED_REGIONS(SharedMemory::truncate),
    PUNCHED_HOLES(SharedMemory::punch);

    @SuppressWarnings("ImmutableEnumChecker") // references to static methods, which have no state
    private final Action action;

    Strategy(final Action action) {
        this.action = action;
    }

    /** Whether it damages memory that all engines of its tenant share, which the node does not protect from them. */
    public boolean damagesItsTenant() {
        return this == TRUNCATED_REGIONS || this == PUNCHED_HOLES;
    }

    /** Runs until it is done or the target's time is over; an IOException only says that the node ended a connection. */
    public void run(final Target target, final Sizes sizes) throws IOException {
        action.run(target, sizes);
    }

    @FunctionalInterface
    private interface Action {
        void run(Target target, Sizes sizes) throws IOException;
    }
}
