/** What one call may ask of the store, and what all of them together may take. Knows nothing of the store. */
package io.kvasir.storage.budget;
