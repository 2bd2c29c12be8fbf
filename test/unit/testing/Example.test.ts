/** The example of tests that a user would write is one: it runs as it stands. */
import { describe } from "@effect/vitest"

describe("examples/firewall/firewall.test.ts", async () => {
  await import("../../../examples/firewall/firewall.test.ts")
})
