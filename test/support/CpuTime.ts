/**
 * How long something takes that must not take long: counted on the processor, so that other work on the machine, such as the
 * test file beside, does not fail it.
 */

/** Processor time of this process so far, milliseconds; differences mean something. */
export const cpuTime = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1000
}
