/** The example of tests that a user would write is one: it runs as it stands. */
import "../../../examples/firewall.test.ts"
