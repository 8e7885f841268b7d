/** What each tenant has of the node, and what it may have. Knows no tier. */
package io.kvasir.storage.tenant;
