"""The campaign over real processes: `theatre` plays a schedule, `stage` is what one process of it has of the world."""
