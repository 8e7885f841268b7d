/** What storage counts. */
package io.kvasir.storage.metrics;
