"""How good the pictures are: measured on people the generator never saw, beside two floors.

    clips      a folder of clips -> square frames with the driver's landmarks
    sitter     one frame -> what an avatar of that frame holds
    methods    still, coarse, generator: landmarks -> picture
    metrics    two pictures -> numbers
    faces      what the tracker sees in a result, against what it sees in the truth
    reenact    one clip, all methods, all numbers
    cross      one driver, another person's portrait
    report     table, JSON, contact sheet

`python -m benchmarks.quality --help` runs it.
"""
