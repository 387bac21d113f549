"""The exact collapse: what a head says of every masked copy of a tensor, without making the copies.

A gate goes on a tensor (`gate.walk`), an interpreter follows the head from there, and every tensor on the way is
described for all masks at once. The rooms, from the ground up:

    values        the kinds of tensors there are, anchored ones (what all-dark gives, and what a mask changes) among them
    lazy          work that is done when somebody asks for it, once, however deep
    masks         the gates of all positions, computed from ranges
    carry         which axes an operation only passes along
    decompose     fused operations said in simpler ones
    operation     one node applied to values, and the record of what is known of its type
    ops           the one table: type of operation -> carry, lift, meet, change ...
    layout        from a value to the tensors that hold it: levels, rows, windows
    dense         one masked copy beside the other, where no rule can say it better
    batched       operations on tensors with the masks in front
    changes       what an operation makes of the change in an anchored value
    apply         an operation on values: level by level, or with the masks in front, with anchors and changes
    tokens        axes whose runs are of different kinds (class token, patches)
    rules/        where positions or runs of tokens meet: pools, products, softmax, attention, selections
    interpreter   the walk: chooses the rule, falls back to the dense form, keeps the reason
    gate          the entry: puts the gate on and starts the walk
    head/         the last step of a head: class maps from its rows, and only the classes asked for
"""
