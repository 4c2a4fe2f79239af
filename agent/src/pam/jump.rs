//! Jumps of a stack, such as `[success=1 default=ignore]`: they count modules, so another module changes their end. No
//! I/O.

use super::stack::Module;

/// Returns the module that jumps over the place before module `next`, and does not end there.
pub(super) fn jumps_into(stack: &[Module], next: usize) -> Option<&Module> {
    let mut before = stack.iter().take(next).enumerate();
    let jumps_over = |(index, module): &(usize, &Module)| {
        let mut jumps = module.jumps();
        jumps.any(|skipped| index + skipped >= next)
    };
    before.find(jumps_over).map(|(_, module)| module)
}

/// Returns the break-glass lines: directly above the stamp, with a jump over the stamp only. They are removed together
/// with it, because they would skip the next module.
///
/// # Errors
/// Another module that jumps over the stamp.
pub(super) fn break_glass(stack: &[Module]) -> Result<Vec<&Module>, &Module> {
    let mut found = Vec::new();
    let is_stamp = |(_, module): &(usize, &Module)| module.is_stamp() && !module.included;
    for (stamp, _) in stack.iter().enumerate().filter(is_stamp) {
        for (index, module) in stack.iter().enumerate().take(stamp) {
            if module.jumps().all(|skipped| index + skipped < stamp) {
                continue;
            }
            let is_next = index + 1 == stamp && !module.included;
            if !is_next || module.jumps().any(|skipped| skipped != 1) {
                return Err(module);
            }
            found.push(module);
        }
    }
    Ok(found)
}
