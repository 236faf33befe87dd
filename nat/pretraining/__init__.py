"""Training supernets: recipes, a teacher's answers, the training, its folder, the whole job."""
