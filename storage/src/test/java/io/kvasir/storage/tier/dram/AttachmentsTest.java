package io.kvasir.storage.tier.dram;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.kvasir.storage.tenant.TenantAccounts;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AttachmentsTest {
    private static final int COUNT = 1000;

    @TempDir
    private Path directory;

    @Test
    void shouldLookAtSomeDepartedAttachmentsInEachCallAndAtAllInTheEnd() {
        final TenantArena tenant =
                new TenantArena(new TenantAccounts(Map.of(), 1 << 20, 1 << 16).of("t"), directory, -1);
        final Attachments attachments = new Attachments();
        final Set<Long> left = new HashSet<>();
        for (int i = 1; i <= COUNT; i++) {
            // Without a lock file: nobody holds it.
            final Attachments.Entry entry = attachments.open(i, tenant);
            left.add(entry.id());
            attachments.depart(entry);
        }
        for (int calls = 0; !left.isEmpty(); calls++) {
            assertTrue(calls < COUNT, left.size() + " were never looked at");
            final List<Attachments.Entry> stopped = attachments.stopped();
            assertTrue(stopped.size() <= COUNT / 10, stopped.size() + " in one call");
            for (final Attachments.Entry entry : stopped) {
                assertTrue(left.remove(entry.id()), "twice");
                attachments.forget(entry);
            }
        }
        assertEquals(List.of(), attachments.stopped());
    }
}
