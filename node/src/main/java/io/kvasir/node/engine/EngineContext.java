package io.kvasir.node.engine;

import io.kvasir.storage.StoreAgent;
import io.prometheus.client.CollectorRegistry;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.function.Function;
import org.agrona.concurrent.EpochClock;
import org.agrona.concurrent.NanoClock;
import org.agrona.concurrent.SystemEpochClock;
import org.agrona.concurrent.SystemNanoClock;

/** Settings of an {@link EngineServer}; checked once by {@link #conclude()}. */
public final class EngineContext {
    /** The kernel's sun_path has 108 bytes on Linux and 104 elsewhere, the closing 0 included. */
    public static final int MAX_SOCKET_PATH_BYTES = 103;

    public static final int MIN_FRAME_BYTES = 64 * 1024;
    public static final int MAX_FRAME_BYTES = 64 * 1024 * 1024;
    public static final int INCARNATION_BYTES = 16;

    private String nodeName = "local";
    private Path socket;
    private int maxConnections = 1024;
    private int maxFrameBytes = 8 * 1024 * 1024;
    private Duration defaultDeadline = Duration.ofSeconds(1);
    private Duration spin = Duration.ofNanos(250_000);
    private Duration busySpin = Duration.ofMillis(10);
    private Duration stallLimit = Duration.ofSeconds(10);
    private int eventsKept = 8192;
    private byte[] incarnation;
    private TenantPolicy tenants;
    private Function<Runnable, StoreAgent> store;
    private CollectorRegistry registry;
    private Neighbours neighbours;
    private StallTracker stalls = new StallTracker();
    private NanoClock nanoClock = SystemNanoClock.INSTANCE;
    private EpochClock epochClock = SystemEpochClock.INSTANCE;

    /** Checks every setting; the message of the exception names the first that is wrong. */
    public EngineContext conclude() {
        require(socket != null, "engine.socket is not set");
        final int pathBytes = socket.toString().getBytes(StandardCharsets.UTF_8).length;
        require(
                pathBytes <= MAX_SOCKET_PATH_BYTES,
                "engine.socket is " + pathBytes + " bytes long; at most " + MAX_SOCKET_PATH_BYTES + " are possible: "
                        + socket);
        require(maxConnections >= 1, "engine.max_connections is " + maxConnections + "; it must be at least 1");
        require(
                maxFrameBytes >= MIN_FRAME_BYTES && maxFrameBytes <= MAX_FRAME_BYTES,
                "engine.max_frame is " + maxFrameBytes + " bytes; it must be " + MIN_FRAME_BYTES + " to "
                        + MAX_FRAME_BYTES);
        require(defaultDeadline.isPositive(), "engine.default_deadline must be longer than 0");
        require(!spin.isNegative(), "engine.spin must not be negative");
        require(!busySpin.isNegative(), "engine.busy_spin must not be negative");
        require(stallLimit.isPositive(), "engine.stall_limit must be longer than 0");
        require(eventsKept >= 1, "engine.events_kept is " + eventsKept + "; it must be at least 1");
        require(incarnation != null && incarnation.length == INCARNATION_BYTES, "the incarnation has 16 bytes");
        require(tenants != null && store != null && registry != null, "tenants, store and registry must be set");
        return this;
    }

    public String nodeName() {
        return nodeName;
    }

    public EngineContext nodeName(final String value) {
        nodeName = value;
        return this;
    }

    public Path socket() {
        return socket;
    }

    public EngineContext socket(final Path value) {
        socket = value;
        return this;
    }

    public int maxConnections() {
        return maxConnections;
    }

    public EngineContext maxConnections(final int value) {
        maxConnections = value;
        return this;
    }

    public int maxFrameBytes() {
        return maxFrameBytes;
    }

    public EngineContext maxFrameBytes(final int value) {
        maxFrameBytes = value;
        return this;
    }

    public Duration defaultDeadline() {
        return defaultDeadline;
    }

    public EngineContext defaultDeadline(final Duration value) {
        defaultDeadline = value;
        return this;
    }

    public Duration spin() {
        return spin;
    }

    /** How long the owner keeps asking for work after it had some, before it sleeps. */
    public EngineContext spin(final Duration value) {
        spin = value;
        return this;
    }

    public Duration busySpin() {
        return busySpin;
    }

    /** The same while some engine holds leases or reserved slots; at least {@link #spin()} counts. */
    public EngineContext busySpin(final Duration value) {
        busySpin = value;
        return this;
    }

    public Duration stallLimit() {
        return stallLimit;
    }

    /** How long a peer may leave a frame half sent, an answer unread, or Hello unsaid. */
    public EngineContext stallLimit(final Duration value) {
        stallLimit = value;
        return this;
    }

    public int eventsKept() {
        return eventsKept;
    }

    public EngineContext eventsKept(final int value) {
        eventsKept = value;
        return this;
    }

    public byte[] incarnation() {
        return incarnation.clone();
    }

    public EngineContext incarnation(final byte[] value) {
        incarnation = Arrays.copyOf(value, value.length);
        return this;
    }

    public TenantPolicy tenants() {
        return tenants;
    }

    public EngineContext tenants(final TenantPolicy value) {
        tenants = value;
        return this;
    }

    /** Makes the store that the server will own; it is given what wakes the owner. */
    public Function<Runnable, StoreAgent> store() {
        return store;
    }

    public EngineContext store(final Function<Runnable, StoreAgent> value) {
        store = value;
        return this;
    }

    /** Null: a node alone. */
    public Neighbours neighbours() {
        return neighbours;
    }

    public EngineContext neighbours(final Neighbours value) {
        neighbours = value;
        return this;
    }

    public StallTracker stalls() {
        return stalls;
    }

    /** Told when the owner's duty cycle begins and ends. */
    public EngineContext stalls(final StallTracker value) {
        stalls = value;
        return this;
    }

    public CollectorRegistry registry() {
        return registry;
    }

    public EngineContext registry(final CollectorRegistry value) {
        registry = value;
        return this;
    }

    public NanoClock nanoClock() {
        return nanoClock;
    }

    public EngineContext nanoClock(final NanoClock value) {
        nanoClock = value;
        return this;
    }

    public EpochClock epochClock() {
        return epochClock;
    }

    public EngineContext epochClock(final EpochClock value) {
        epochClock = value;
        return this;
    }

    private static void require(final boolean holds, final String message) {
        if (!holds) {
            throw new IllegalArgumentException(message);
        }
    }
}
