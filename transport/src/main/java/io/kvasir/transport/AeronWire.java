package io.kvasir.transport;

import io.aeron.Aeron;
import io.aeron.ChannelUriStringBuilder;
import io.aeron.CommonContext;
import io.aeron.ExclusivePublication;
import io.aeron.Image;
import io.aeron.Subscription;
import io.aeron.driver.MediaDriver;
import io.aeron.exceptions.RegistrationException;
import io.aeron.logbuffer.BufferClaim;
import io.aeron.logbuffer.FragmentHandler;
import io.aeron.logbuffer.Header;
import io.aeron.status.PublicationErrorFrame;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.TimeUnit;
import org.agrona.CloseHelper;
import org.agrona.DirectBuffer;
import org.agrona.collections.Long2ObjectHashMap;
import org.agrona.concurrent.AgentInvoker;

/**
 * The link's streams over Aeron UDP, with a media driver inside this process. One control stream reaches this node's
 * port from each peer; a data stream is taken only with the session number that a proven peer announced, so that no
 * stranger's stream gets buffers there.
 */
final class AeronWire implements Wire {
    static final int CONTROL_STREAM = 1;
    static final int DATA_STREAM = 2;

    /** Smallest that Aeron has: 3 x 64 KiB at each end. */
    static final int CONTROL_TERM = 64 << 10;

    /** A peer may be configured with larger terms than this node, up to here. */
    static final int MAX_DATA_TERM = 64 << 20;

    private static final int FRAME_HEADER = 32;
    /** No peer sends larger control messages, however it is configured. */
    static final int MAX_CONTROL_MTU = CONTROL_TERM / 8;

    /** Fragments of one stream in one duty cycle: none keeps the others waiting. */
    private static final int FRAGMENTS = 16;

    /**
     * Of a driver on the link's thread, in one duty cycle: each moves one datagram of each socket or stream, and what else a
     * duty cycle does is done once for all of them.
     */
    private static final int DRIVER_TURNS = 4;

    /**
     * Driver and client share a process, and often a thread: neither outlives the other, and after a pause (SIGSTOP, a
     * frozen virtual machine) both go on. So neither gives the other up.
     */
    private static final long PATIENCE_NS = TimeUnit.HOURS.toNanos(24);

    private final LinkContext context;
    private final DataFlow flow = new DataFlow();
    private final MediaDriver driver;
    private final AgentInvoker driverInvoker;
    private final Aeron aeron;
    private final AgentInvoker clientInvoker;
    private final Subscription control;
    private final FragmentHandler onControl = this::onControl;
    private final List<AeronDataIn> listening = new ArrayList<>();
    private final Long2ObjectHashMap<AeronControlOut> controlsByRegistration = new Long2ObjectHashMap<>();
    private final Long2ObjectHashMap<Image> images = new Long2ObjectHashMap<>();
    private final Queue<Long> opened = new ArrayDeque<>();
    private final Queue<Long> gone = new ArrayDeque<>();
    private ControlHandler handler;

    AeronWire(final LinkContext context) {
        this.context = context;
        driver = MediaDriver.launch(driverContext(context, flow));
        driverInvoker = driver.sharedAgentInvoker();
        Aeron client = null;
        try {
            client = Aeron.connect(new Aeron.Context()
                    .aeronDirectoryName(driver.aeronDirectoryName())
                    .useConductorAgentInvoker(true)
                    .driverAgentInvoker(driverInvoker)
                    .driverTimeoutMs(TimeUnit.NANOSECONDS.toMillis(PATIENCE_NS))
                    .publicationErrorFrameHandler(this::onPublicationError)
                    .subscriberErrorHandler(this::onError)
                    .errorHandler(this::onError));
            aeron = client;
            clientInvoker = aeron.conductorAgentInvoker();
            control = aeron.addSubscription(
                    channel(context.listen()).build(),
                    CONTROL_STREAM,
                    image -> {
                        images.put(image.correlationId(), image);
                        opened.add(image.correlationId());
                    },
                    image -> {
                        images.remove(image.correlationId());
                        gone.add(image.correlationId());
                    });
        } catch (final RuntimeException e) {
            CloseHelper.quietCloseAll(client, driver);
            throw e instanceof RegistrationException
                    ? new LinkException("the link can't listen at " + context.listen() + ": " + e.getMessage())
                    : e;
        }
    }

    private static MediaDriver.Context driverContext(final LinkContext context, final DataFlow flow) {
        final long silence = context.silence().toNanos();
        return new MediaDriver.Context()
                .aeronDirectoryName(context.aeronDirectory().toString())
                .dirDeleteOnStart(true)
                .dirDeleteOnShutdown(true)
                .threadingMode(context.threadingMode())
                // Files that exist in full: a sparse one on a full tmpfs is a SIGBUS in the middle of a copy.
                .termBufferSparseFile(false)
                .mtuLength(context.mtu())
                .publicationTermBufferLength(context.termLength())
                .initialWindowLength(context.window())
                .socketRcvbufLength(context.window())
                .socketSndbufLength(context.window())
                .imageLivenessTimeoutNs(silence)
                .publicationConnectionTimeoutNs(silence)
                .publicationLingerTimeoutNs(Links.LINGER_NS)
                .clientLivenessTimeoutNs(PATIENCE_NS)
                .publicationUnblockTimeoutNs(2 * PATIENCE_NS)
                .driverTimeoutMs(TimeUnit.NANOSECONDS.toMillis(PATIENCE_NS))
                // Strangers' streams on the control port end with their handshake; this many at a time.
                .streamSessionLimit(2 * context.maxLinks() * context.dataStreams() + 64)
                .receiveChannelEndpointSupplier((channel, dispatcher, status, driverContext) -> new ReceiveEndpoint(
                        channel, dispatcher, status, driverContext, CONTROL_TERM, MAX_DATA_TERM, flow))
                .sendChannelEndpointSupplier(
                        (channel, status, driverContext) -> new SendEndpoint(channel, status, driverContext, flow))
                .errorHandler(e -> context.errors().onError("media driver: " + e.getMessage()));
    }

    private static ChannelUriStringBuilder channel(final String endpoint) {
        return new ChannelUriStringBuilder().media(CommonContext.UDP_MEDIA).endpoint(endpoint);
    }

    private void onError(final Throwable error) {
        context.errors().onError("aeron client: " + error.getMessage());
    }

    private void onPublicationError(final PublicationErrorFrame frame) {
        final AeronControlOut out = controlsByRegistration.get(frame.registrationId());
        if (out != null) {
            out.rejection = frame.errorMessage();
        }
    }

    @Override
    public int maxControl() {
        return Math.min(context.mtu(), MAX_CONTROL_MTU) - FRAME_HEADER;
    }

    @Override
    public int maxData() {
        return context.mtu() - FRAME_HEADER;
    }

    @Override
    public ControlOut openControl(final String endpoint) {
        return new AeronControlOut(aeron.asyncAddExclusivePublication(
                channel(endpoint)
                        .termLength(CONTROL_TERM)
                        .mtu(Math.min(context.mtu(), MAX_CONTROL_MTU))
                        .build(),
                CONTROL_STREAM));
    }

    @Override
    public DataOut openData(final String endpoint, final int session) {
        return new AeronOut(aeron.asyncAddExclusivePublication(
                channel(endpoint)
                        .termLength(context.termLength())
                        .mtu(context.mtu())
                        .sessionId(session)
                        .build(),
                DATA_STREAM));
    }

    @Override
    public DataIn listen(final int session, final DataHandler data) {
        final AeronDataIn in = new AeronDataIn(
                aeron.asyncAddSubscription(
                        channel(context.listen()).sessionId(session).build(), DATA_STREAM),
                data);
        listening.add(in);
        return in;
    }

    @Override
    public void reject(final long source, final String reason) {
        final Image image = images.get(source);
        if (image != null && !image.isClosed()) {
            image.reject(reason);
        }
    }

    @Override
    public int doWork(final ControlHandler controlHandler) {
        handler = controlHandler;
        int work = 0;
        if (driverInvoker != null) {
            work += turnDriver();
        }
        work += clientInvoker.invoke();
        for (Long source = opened.poll(); source != null; source = opened.poll()) {
            controlHandler.onControlOpened(source);
            work++;
        }
        work += control.poll(onControl, FRAGMENTS);
        for (int i = 0; i < listening.size(); i++) {
            work += listening.get(i).poll();
        }
        for (Long source = gone.poll(); source != null; source = gone.poll()) {
            controlHandler.onControlGone(source);
            work++;
        }
        return work;
    }

    private int turnDriver() {
        flow.next();
        int work = 0;
        for (int turn = 0; turn < DRIVER_TURNS; turn++) {
            final int done = driverInvoker.invoke();
            work += done;
            if (done == 0) {
                break;
            }
        }
        return work;
    }

    private void onControl(final DirectBuffer buffer, final int offset, final int length, final Header header) {
        handler.onControl(((Image) header.context()).correlationId(), buffer, offset, length);
    }

    @Override
    public void close() {
        CloseHelper.quietClose(aeron);
        CloseHelper.quietClose(driver);
    }

    /** A publication, from the request for it on. */
    private class AeronOut implements DataOut {
        private final long registration;
        private ExclusivePublication publication;
        private boolean wasConnected;
        private boolean gone;

        AeronOut(final long registration) {
            this.registration = registration;
        }

        @Override
        public State state() {
            if (!gone && publication == null) {
                try {
                    publication = aeron.getExclusivePublication(registration);
                } catch (final RuntimeException refused) {
                    onError(refused);
                    gone = true;
                }
            }
            if (gone || publication == null) {
                return gone ? State.GONE : State.OPENING;
            }
            final boolean connected = publication.isConnected();
            if (publication.isClosed() || (wasConnected && !connected)) {
                gone = true;
                return State.GONE;
            }
            wasConnected = connected;
            return connected ? State.UP : State.OPENING;
        }

        final ExclusivePublication publication() {
            return publication;
        }

        @Override
        public boolean claim(final int length, final BufferClaim claim) {
            final boolean claimed = publication.tryClaim(length, claim) > 0;
            if (claimed) {
                flow.sent();
            }
            return claimed;
        }

        @Override
        public void close() {
            gone = true;
            if (publication != null) {
                publication.close();
            } else if (!aeron.isClosed()) {
                aeron.asyncRemovePublication(registration);
            }
        }
    }

    private final class AeronControlOut extends AeronOut implements ControlOut {
        private final long registrationId;
        private String rejection;

        AeronControlOut(final long registrationId) {
            super(registrationId);
            this.registrationId = registrationId;
            controlsByRegistration.put(registrationId, this);
        }

        @Override
        public String rejection() {
            return rejection;
        }

        @Override
        public boolean offer(final DirectBuffer message, final int offset, final int length) {
            return publication().offer(message, offset, length) > 0;
        }

        @Override
        public void close() {
            controlsByRegistration.remove(registrationId);
            super.close();
        }
    }

    /** A subscription to one session, from the request for it on. */
    private final class AeronDataIn implements DataIn, FragmentHandler {
        private final long registration;
        private final DataHandler data;
        private Subscription subscription;
        private boolean hadImage;
        private boolean gone;

        AeronDataIn(final long registration, final DataHandler data) {
            this.registration = registration;
            this.data = data;
        }

        @Override
        public State state() {
            if (!gone && subscription == null) {
                try {
                    subscription = aeron.getSubscription(registration);
                } catch (final RuntimeException refused) {
                    onError(refused);
                    gone = true;
                }
            }
            if (gone || subscription == null) {
                return gone ? State.GONE : State.OPENING;
            }
            final boolean image = !subscription.hasNoImages();
            if (subscription.isClosed() || (hadImage && !image)) {
                gone = true;
                return State.GONE;
            }
            hadImage = image;
            return State.UP;
        }

        int poll() {
            return subscription == null || gone ? 0 : subscription.poll(this, FRAGMENTS);
        }

        @Override
        public void onFragment(final DirectBuffer buffer, final int offset, final int length, final Header header) {
            flow.received();
            data.onData(buffer, offset, length);
        }

        @Override
        public void close() {
            gone = true;
            listening.remove(this);
            if (subscription != null) {
                subscription.close();
            } else if (!aeron.isClosed()) {
                aeron.asyncRemoveSubscription(registration);
            }
        }
    }
}
